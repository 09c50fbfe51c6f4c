"""Which URLs are passed on as images."""

from typing import Any

import httpx
import pytest
from conftest import MakeClient, picture
from hypothesis import given
from hypothesis import strategies as st
from support.loopback import Reply, Server

from roboflow_async import ConfigurationError, ImageError, endpoints
from roboflow_async._engine.images.url_policy import check_image_url


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
def test_urls_of_any_text_pass_or_fail(text: str) -> None:
    """No text of a URL makes the check do anything but pass or fail."""
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
    from roboflow_async._engine.images.loader import ImageLoader

    loader = ImageLoader(allow_paths=True, allow_urls=True, max_bytes=100)
    with pytest.raises(ImageError, match="neither http:// nor https://"):
        await loader.load(httpx.URL(url))


# Parameters, which may be images to the server

METADATA = "http://169.254.169.254/latest/meta-data"
HIDDEN = [
    {"type": "url", "value": METADATA},
    {"type": "URL", "value": METADATA},
    {"type": "Url", "value": "HTTP://169.254.169.254/"},
    {"type": "url", "value": f" {METADATA}"},
    {"type": "url", "value": "ftp://example.com/a.jpg"},
    {"type": "base64", "value": METADATA},  # the server looks at the value alone
    {"value": METADATA},
    {"type": None, "value": METADATA},
    METADATA,
    f"\n{METADATA}",
    "https://localhost/a.jpg",
    "http:169.254.169.254",
    [{"type": "url", "value": METADATA}],
    ({"type": "url", "value": METADATA},),
    [[["text", {"type": "url", "value": METADATA}]]],
    {"deeper": {"still": [{"type": "url", "value": METADATA}]}},
    {"type": "numpy", "value": "gASV"},
    {"type": "NumPy_Object", "value": "gASV"},
    {"type": "file", "value": "/etc/passwd"},
]
HARMLESS = [
    "text", "see http://localhost", "https", 3, None, True, 0.5, [], {}, ["a", 1],
    {"type": "url"}, {"type": "base64", "value": "AAAA"}, {"type": 3, "value": 4},
]  # fmt: skip
SAFE = {"allow_paths": False}


@pytest.mark.anyio
@pytest.mark.parametrize("allow_urls", ["public", False])
@pytest.mark.parametrize("hidden", HIDDEN, ids=range(len(HIDDEN)))
async def test_a_private_url_does_not_get_through_as_a_parameter(
    server: Server, make_client: MakeClient, hidden: Any, allow_urls: Any
) -> None:
    async with make_client(allow_urls=allow_urls, **SAFE) as client:
        workflow = client.workflow("w", "f")
        with pytest.raises(ImageError, match="second"):
            await workflow.run(picture(0), second=hidden)
        with pytest.raises(ImageError, match="second"):
            await workflow.warm_up(picture(0), second=hidden)
        with pytest.raises(ImageError, match="second"):
            client.workflow("w", "f", parameters={"second": hidden})
        with pytest.raises(ImageError, match="second"):
            await client.run_workflow("w", "f", parameters={"second": hidden})
        with pytest.raises(ImageError):
            await client.run_workflow("w", "f", images={"second": hidden})
        with pytest.raises(ImageError, match="second"):
            await client.start_pipeline("rtsp://camera", "w", "f", parameters={"second": hidden})
    assert not server.arrivals


@pytest.mark.anyio
@pytest.mark.parametrize("allow_urls", ["public", False])
async def test_other_parameters_pass(
    server: Server, make_client: MakeClient, allow_urls: Any
) -> None:
    parameters = {f"p{index}": value for index, value in enumerate(HARMLESS)}
    async with make_client(allow_urls=allow_urls, **SAFE) as client:
        await client.workflow("w", "f", parameters=parameters).run(picture(0), more=HARMLESS)
    inputs = server.arrivals[0].json["inputs"]
    assert [inputs[name] for name in parameters] == inputs["more"] == HARMLESS


@pytest.mark.anyio
async def test_public_urls_pass_as_parameters_where_they_do_as_images(
    server: Server, make_client: MakeClient
) -> None:
    public = [{"type": "url", "value": "https://example.com/a.jpg"}, "https://example.com/hook"]
    async with make_client(allow_urls="public", **SAFE) as client:
        await client.workflow("w", "f").run(picture(0), more=public)
    async with make_client() as client:
        await client.workflow("w", "f").run(picture(0), more=HIDDEN[:-3])
    async with make_client(allow_urls=False) as client:
        with pytest.raises(ImageError, match="allow_urls=False"):
            await client.workflow("w", "f").run(picture(0), more=public)
    assert server.arrivals[0].json["inputs"]["more"] == public
    assert len(server.arrivals) == 2


@pytest.mark.anyio
async def test_fields_of_endpoints_are_looked_at_too(
    server: Server, make_client: MakeClient
) -> None:
    async with make_client(allow_urls="public", **SAFE) as client:
        target = client.endpoint(endpoints.SAM3_3D, model_id="a")
        with pytest.raises(ImageError, match="mask_input"):
            await target.run(picture(0), mask_input=[{"type": "URL", "value": METADATA}])
        # A text is never fetched.
        server.handler = lambda _: Reply(body=b'{"embeddings": [[1]]}')
        await client.endpoint(endpoints.CLIP_EMBED_TEXT).run([METADATA])
    assert len(server.arrivals) == 1


@pytest.mark.anyio
async def test_a_parameter_that_is_in_itself_is_told_as_such(make_client: MakeClient) -> None:
    endless: list[Any] = []
    endless.append(endless)
    async with make_client(allow_urls=False) as client:
        with pytest.raises(ConfigurationError, match="JSON"):
            await client.workflow("w", "f").run(picture(0), more=endless)
