"""Which URLs are passed on as images."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roboflow_async import ImageError
from roboflow_async.urls import check_image_url


def is_passed_on(url: str) -> bool:
    try:
        check_image_url(url, "public")
    except ImageError:
        return False
    return True


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.jpg",
        "HTTP://Example.COM:8080/a.jpg?b=c#d",
        "https://example.com",
        "https://storage.googleapis.com/bucket/a%20b.jpg",
        "http://8.8.8.8/a.jpg",
        "http://134744072/a.jpg",  # 8.8.8.8
        "http://[2001:4860:4860::8888]/a.jpg",
        "https://10.example.com/a.jpg",
        "https://local.example.com./a.jpg",
    ],
)
def test_a_public_host_is_passed_on(url: str) -> None:
    assert is_passed_on(url)


@pytest.mark.parametrize(
    "url",
    [
        # The metadata service of clouds: decimal, hexadecimal, octal, short, within IPv6.
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/",
        "http://0xA9FEA9FE/",
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://169.16689662/",
        "http://169.254.169.254./",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::]/",
        "http://[fd00:ec2::254]/",
        # This machine, and private networks.
        "http://localhost:8080/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://0/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[fe80::1]/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://172.16.0.1/",
        "http://100.64.0.1/",
        "http://224.0.0.1/",
        "http://db/",
        "http://printer.local/",
        "http://metadata.google.internal/",
        "http://METADATA.GOOGLE.INTERNAL./",
        "http://localhost.localdomain/",
        "http://app.localhost/",
        "http://router.home.arpa/",
        # Whose host parsers do not agree on.
        "http://example.com@169.254.169.254/",
        "http://user:password@example.com/",
        "http://example.com\\@169.254.169.254/",
        "http:///example.com/",
        "http://example.com:99999999/",
        "http://[::1%25eth0]/",
        "http://[::g]/",
        "http://\uff11\uff16\uff19\u3002254\u3002169\u3002254/",
        "http://\u2488\u2488/",
        "http://256.256.256.256/",
        "http://1.2.3.4.5/",
        "http://0x/",
        "http://app.localho\u017ft/",
        "http://app.\u212aubernetes.com/",
        "http://[::127.0.0.1]/",
        "http://[::7f00:1]/",
        "http://[::ffff:0:7f00:1]/",
        "http://[64:ff9b:1::a9fe:a9fe]/",
        "http://[fec0::1]/",
        "http://[2000::5efe:7f00:1]/",
        "http://[3fff::1]/",
        "http://[2001:db8::1]/",
        "http://192.0.0.192/",
        "http://192.88.99.1/",
        "http://168.63.129.16/",
        "http://metadata.goog/",
        "http://localhost4.localdomain4/",
        "http://redis.default/",
        "http://kubernetes.default.svc/",
        "http://wiki.corp/",
    ],
)
def test_a_host_that_is_private_or_unclear_is_refused(url: str) -> None:
    assert not is_passed_on(url)
    if url.isprintable():
        check_image_url(url, allow_urls=True)  # a client that nobody else talks to may


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["{}", "0x{:x}", "0{:o}", "0x{:X}", "00{:o}"]),
)
def test_all_notations_of_an_address_are_judged_alike(number: int, form: str) -> None:
    dotted = ".".join(str(byte) for byte in number.to_bytes(4))
    assert is_passed_on(f"http://{form.format(number)}/") == is_passed_on(f"http://{dotted}/")


@given(st.text(max_size=60))
def test_no_text_does_anything_but_pass_or_fail(text: str) -> None:
    for url in (text, f"http://{text}", f"http://[{text}]/", f"https://example.com/{text}"):
        for allowed in (True, "public", False):
            try:
                check_image_url(url, allowed)  # type: ignore[arg-type]
            except ImageError as error:
                assert len(text) < 12 or text not in str(error)  # a URL may hold a secret
            else:
                assert allowed


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/a.jpg", "example.com"])
@pytest.mark.anyio
async def test_a_url_object_of_another_scheme_is_no_image(url: str) -> None:
    from roboflow_async.images import ImageLoader

    loader = ImageLoader(allow_paths=True, allow_urls=True, max_bytes=100)
    with pytest.raises(ImageError, match="neither http:// nor https://"):
        await loader.load(httpx.URL(url))
