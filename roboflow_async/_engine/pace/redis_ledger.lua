-- One ceiling for many processes: a schedule of turns, the cooldown after a 429, and a pace that
-- falls and climbs back. It is what `Pacer` does, for all of them.
--
-- KEYS[1]  a hash, which expires when nobody uses it
-- ARGV     operation; constants, in the order of CONSTANTS below (pace_law.py and redis_limiter.py say what
--          they are); and then
--   reserve  turns, number of the last one that the caller knows, latency, 1 if others sent,
--            place of the caller in the queue or 0 -> now, pace, cooldown, number of the first turn,
--                                                     0 or a place, when each is due: those that are
--                                                     soon, or none
--   reject   when the request was sent, cooldown   -> nothing
--   late     pairs: number of a turn, when its request really went out -> nothing
-- Times are microseconds, moments are of this server's clock; the pace comes back in thousandths.
--
-- Whoever may write to the hash may write anything, and all of Redis waits while a script runs: what
-- is read counts only within bounds, and nothing loops over a number that was read.

local SECOND = 1000000
local HOUR = 3600 * SECOND
local MOST_TURNS = 1e15  -- exact, also when one is added; at 100,000 a second they last 300 years
-- No turn is booked farther ahead. Until it is due for sure, that of a second before is used or given
-- up, and known here; and what is booked takes no notice of a 429, of a new pace, or of a death.
local FARTHEST = 850000
-- Those who find no turn within that time come again, one after the other: for as many turns as they
-- want if the queue is this short, and for fewer the longer it is. A place in it is the moment to come.
local SHORT_QUEUE = 100000
local PLACE = 1.06  -- the distance of two places, in requests: a little less often than turns
-- When nobody has come for a second and some places, those in the queue have died.
local EMPTY_PLACES = 3
local MOST_AT_ONCE = 1000  -- turns that one reply has
local LARGEST_RING, HIGHEST_PACE = 100000, 100000
local CONSTANTS = {
  'ceiling', 'remembered', 'window', 'cold', 'spacing', 'least_distance', 'tolerance', 'kept_for',
  'cut', 'deepest_cut', 'knee', 'unsure_knee', 'let_through', 'held', 'held_cut', 'far_above',
  'least_average',
  'shortest_climb', 'shortest_climb_requests', 'longest_climb', 'longest_climb_requests',
  'probe', 'probe_requests', 'lowest',
}
local operation = ARGV[1]
local c = {}
for index, name in ipairs(CONSTANTS) do
  c[name] = tonumber(ARGV[index + 1])
end
local arguments = {}  -- of the operation
for index = #CONSTANTS + 2, #ARGV do
  arguments[#arguments + 1] = tonumber(ARGV[index])
end
local ceiling = c.ceiling

local time = redis.call('TIME')
local now = tonumber(time[1]) * SECOND + tonumber(time[2])

local FIELDS = {
  'seen', 'turns', 'valid', 'cold', 'next', 'last', 'cool', 'low', 'knee', 'climb', 'began', 'ring',
  'passed', 'since', 'queue', 'front', 'came', 'booked',
}
local stored = redis.call('HMGET', KEYS[1], unpack(FIELDS))
local is_new = not stored[1]
-- A number from `least` to `most`, or nil: also for nan, which is neither.
local function within(text, least, most)
  local number = tonumber(text or 0)
  return number and number >= least and number <= most and number or nil
end
local function whole(number)
  return number and number == math.floor(number) and number or nil
end
local s, is_ours = {}, true
for index, name in ipairs(FIELDS) do
  s[name] = within(stored[index], -1e16, 1e16)
end
for name, most in pairs({turns = MOST_TURNS, valid = 2 * MOST_TURNS, cold = 2 * MOST_TURNS, ring = LARGEST_RING}) do
  s[name] = whole(within(s[name], 0, most))
end
for _, name in ipairs(FIELDS) do
  is_ours = is_ours and s[name] ~= nil
end
if not is_ours then  -- none of it can be trusted: as if it had been forgotten by a restart
  for _, name in ipairs(FIELDS) do
    s[name] = 0
  end
end
if is_new and operation == 'late' then
  return {}  -- what was booked is forgotten
end
local changed = {}
local function set(name, value)
  changed[#changed + 1] = name
  changed[#changed + 1] = string.format('%.6f', value)
end

-- The clock was set back: what lay ahead lies as far ahead as before.
local back = s.seen - now
if back > 0 then
  s.next, s.last = s.next - back, s.last - back
  s.cool, s.began, s.since = s.cool - back, s.began - back, s.since - back
  s.queue, s.front, s.came, s.booked = s.queue - back, s.front - back, s.came - back, s.booked - back
end
s.seen = now

-- No pause is longer than an hour; and turns may be booked for as long again, or for a hundred.
local farthest = now + HOUR + math.max(HOUR, 100 * SECOND / ceiling)
local in_an_hour = now + HOUR
for name, latest in pairs({
  next = farthest, last = farthest, cool = in_an_hour, began = now,
  queue = in_an_hour, front = in_an_hour, came = in_an_hour, booked = farthest,
}) do
  s[name] = math.max(math.min(s[name], latest), 0)
end
s.valid = math.min(s.valid, s.turns)
if s.low ~= 0 then
  s.low = math.min(math.max(s.low, math.min(c.lowest, ceiling)), HIGHEST_PACE)
  s.knee = math.min(math.max(s.knee, s.low), HIGHEST_PACE)
  s.climb = math.min(math.max(s.climb, 0), HOUR + 100 * SECOND / s.low)
end

-- As many as one second may have.
local kept = math.max(math.floor(ceiling), 1)

-- There is room for as many as the caller with the largest ceiling wants to be remembered.
local has_moved = not is_ours or s.ring > 0 and c.remembered > s.ring  -- they are sought elsewhere from now on
s.ring = math.max(s.ring, c.remembered)

local is_unknown, is_new_here = back > SECOND / 20 or has_moved, false
if operation == 'reserve' then
  local last_number, others_sent = arguments[2], arguments[4] == 1
  is_unknown = is_unknown or last_number >= s.turns or others_sent
  is_new_here = last_number < 0
  if last_number < MOST_TURNS then
    s.turns = math.max(s.turns, last_number + 1)
  end
end
if is_unknown or s.next < now - SECOND then
  s.cold = s.turns + kept  -- until then connections are opened, here and at the server
end
if is_unknown then
  -- Forgotten by a restart, by another clock or in another place: turns that were given are still to be used.
  s.next = math.max(s.next, now + SECOND)
  s.valid = s.turns
end

local function place(number)
  return 'turn' .. number % s.ring
end

local turns_of_now = {}  -- of those that this very call writes
local function went_out_at(number)
  if number < s.valid then
    return 0
  end
  return turns_of_now[number] or within(redis.call('HMGET', KEYS[1], place(number))[1], 0, farthest) or 0
end

local function went_out(number, at)
  turns_of_now[number] = at + (number < s.cold and c.cold or 0)
  set(place(number), turns_of_now[number])
end

-- How many went out from one moment on until just before another. They did so in their order, but for
-- a few that were late.
local function sent_between(from, to)
  local oldest = math.max(s.turns - s.ring, s.valid)
  if oldest == s.turns - s.ring and went_out_at(oldest) > from then
    return math.huge  -- as many as the pace allowed: it is too long ago
  end
  local function first_from(moment)
    local low, high = oldest, s.turns
    while low < high do
      local middle = math.floor((low + high) / 2)
      if went_out_at(middle) < moment then
        low = middle + 1
      else
        high = middle
      end
    end
    return low
  end
  return math.max(first_from(to) - first_from(from), 0)
end

-- The law of pace_law.py.

local function lasting(name, pace)
  return math.max(c[name], c[name .. '_requests'] / pace) * SECOND
end

local function pace_at(moment)
  if s.low == 0 then
    return ceiling
  end
  local elapsed = math.max(moment - s.cool, 0)
  local found
  if elapsed < s.climb then
    found = s.knee - (s.knee - s.low) * (1 - elapsed / s.climb) ^ 5
  else
    local probed = math.min((elapsed - s.climb) / lasting('probe', s.knee), 1)
    found = s.knee + (ceiling - s.knee) * probed ^ 3
  end
  return math.min(found, ceiling)
end

local function fall(sent_at)
  local pace = pace_at(sent_at)
  local elapsed = math.max(sent_at - s.cool, 0)
  local window = math.max(SECOND, SECOND / pace)
  local sent = sent_between(s.cool, sent_at)
  local is_alone = s.low == 0 or elapsed >= s.climb + lasting('probe', s.knee)
  local is_blocked = not is_alone and sent == 0
  if not is_blocked then
    s.passed = math.min(sent, pace * elapsed / SECOND)
    if s.low == 0 and sent == math.huge then
      s.passed = 0  -- unknown: there has been no cooldown yet since which time would count
    end
    s.since = sent_at - s.passed / pace * SECOND
  end
  local function let_through()
    return sent_between(sent_at - window, sent_at) * SECOND / window
  end
  local function cut(from)
    return math.min(math.max(let_through() * c.let_through, from * c.deepest_cut), from * c.cut)
  end
  local low, knee, climb = 0, 0, 0
  if is_blocked then
    low, knee = cut(s.low), s.knee
    if s.passed >= 1 then
      knee = math.min(knee, math.max(s.passed * SECOND / (sent_at - s.since), c.least_average))
      low = math.min(math.max(low, knee * c.deepest_cut), knee * c.let_through)
    end
  elseif is_alone or pace > s.knee * c.far_above then
    low, knee = pace * c.cut, pace * c.knee
  elseif elapsed >= s.climb * c.held then
    knee = pace <= s.knee and pace * c.knee or s.knee
    low = knee * c.held_cut
    climb = math.min(2 * s.climb, lasting('longest_climb', knee))
  elseif elapsed >= window then
    low, knee = pace * c.cut, pace * c.unsure_knee
  else
    knee = math.min(let_through(), pace * c.knee)
    low = cut(pace)
  end
  s.low = math.min(math.max(low, c.lowest), pace)
  s.knee = math.max(knee, s.low)
  s.climb = math.max(climb, lasting('shortest_climb', s.knee))
end

local reply = {}
if operation == 'reserve' then
  local turns, latency, place = math.min(arguments[1], MOST_AT_ONCE), arguments[3], arguments[5]
  local pace = pace_at(now)
  local interval, least = SECOND * c.spacing / pace, SECOND * c.least_distance / pace
  local earliest = math.max(now + latency, s.cool)
  local function next_due()
    return math.max(earliest, s.next, s.last + least, went_out_at(s.turns - kept) + c.window * kept / ceiling)
  end
  local due, soon = next_due(), now + latency
  reply = {now, pace * 1000, math.max(s.cool - now, 0), s.turns, 0}
  local each = PLACE * SECOND / ceiling
  local is_invited = place > 0 and place <= now
  if is_invited then
    s.came = math.max(s.came, now)
  elseif s.queue > now and now - s.came > SECOND + EMPTY_PLACES * each then
    s.queue = now
  end
  -- Those in the queue come first. If there are few turns ahead, some of them have died.
  local is_first = is_invited or s.queue <= now or due <= soon + FARTHEST / 2
  if is_first and due <= soon + FARTHEST then
    if is_new_here then
      s.cold = s.turns + kept
    end
    for index = 1, turns do
      if index > 1 and due > now + FARTHEST then
        break
      end
      went_out(s.turns, due)
      reply[#reply + 1] = due
      -- What the window cost is caught up with, within the tolerance.
      s.next = math.max(s.next + interval, due + interval - c.tolerance)
      s.turns, s.last, earliest = s.turns + 1, due, due
      due = next_due()
    end
  else
    -- By the ceiling and not by the pace, so that nobody sleeps while a low pace climbs again.
    local again = math.max(due - latency - FARTHEST, now)
    if is_invited then
      again = math.max(again, s.front)
      s.front = again + each
    elseif place > 0 and place < s.queue then
      again = place
    else
      if again > s.queue then
        s.came = again
      end
      again = math.max(again, s.queue)
      s.queue = again + math.max(turns * math.min(SHORT_QUEUE / math.max(again - now, 1), 1), 1) * each
    end
    reply[5] = again
  end
elseif operation == 'reject' then
  local sent_at, wait = arguments[1], math.min(arguments[2], HOUR)
  -- Otherwise it was sent before this wave of 429s came back, or by a turn that was booked before.
  local is_new = sent_at > s.began and sent_at > s.booked
  if is_new then
    fall(sent_at)
    s.began, s.booked = now, s.last
  end
  if is_new or wait > 0 then
    s.cool = math.max(s.cool, now + wait)
  end
else
  for index = 1, #arguments, 2 do
    local number, at = arguments[index], arguments[index + 1]
    if number < s.turns and s.turns - number <= s.ring then
      if at - went_out_at(number) > c.tolerance then
        -- No late wake-up: it had to connect. The next one keeps its distance from it.
        s.last = math.max(s.last, at)
      end
      went_out(number, at)
    end
  end
end

for _, name in ipairs(FIELDS) do
  set(name, s[name])
end
redis.call('HSET', KEYS[1], unpack(changed))
local back_at = s.cool + (s.low > 0 and s.climb + lasting('probe', s.knee) or 0)
local alive = math.max(s.next, s.queue, s.front, back_at, now) - now + c.kept_for
redis.call('PEXPIRE', KEYS[1], math.ceil(alive / 1000))
return reply
