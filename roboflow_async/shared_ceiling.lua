-- One ceiling for many processes: a schedule of turns, the cooldown after a 429, and a pace that
-- falls to what the API lets through and climbs back. It is what `Pacer` does, for all of them.
--
-- KEYS[1]  a hash, which expires when nobody uses it
-- ARGV     operation; ceiling (requests a second); window, cold, spacing, tolerance, recovery,
--          back-off, deepest cut, lowest pace (pacing.py and redis.py say what they are); and then
--   reserve  turns, number of the last one that the caller knows, lead, 1 for afresh
--                                                  -> now, pace, cooldown, number of the first turn,
--                                                     when each is due
--   reject   when the request was sent, cooldown   -> nothing
--   late     pairs: number of a turn, when its request really went out -> nothing
-- Times are microseconds, moments are of this server's clock; the pace comes back in thousandths.

local SECOND = 1000000
local operation = ARGV[1]
local constants = {}
for index = 2, #ARGV do
  constants[index - 1] = tonumber(ARGV[index])
end
local ceiling, window, cold, spacing, tolerance, recovery, back_off, deepest_cut, lowest = unpack(constants, 1, 9)
local FIRST = 10  -- of what belongs to the operation
local argument, other = constants[FIRST], constants[FIRST + 1]
local lead, afresh = constants[FIRST + 2], constants[FIRST + 3]

local time = redis.call('TIME')
local now = tonumber(time[1]) * SECOND + tonumber(time[2])

local FIELDS = {'seen', 'turns', 'valid', 'cold', 'next', 'cool', 'low', 'began', 'before', 'through', 'ring'}
local stored = redis.call('HMGET', KEYS[1], unpack(FIELDS))
local is_new = not stored[1]
local s = {}
for index, name in ipairs(FIELDS) do
  s[name] = tonumber(stored[index] or 0)
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
  s.next, s.cool, s.began = s.next - back, s.cool - back, s.began - back
end
s.seen = now

-- As many turns are kept as one second may have: when each went out.
local kept = math.max(math.floor(ceiling), 1)

-- For that, there is room for as many as the largest ceiling of all callers needs.
local has_moved = s.ring > 0 and kept > s.ring  -- turns that are kept are sought elsewhere from now on
s.ring = math.max(s.ring, kept)

local is_unknown, is_new_here = back > SECOND / 20 or has_moved, false
if operation == 'reserve' then
  is_unknown = is_unknown or other >= s.turns or afresh == 1
  is_new_here = other < 0
  s.turns = math.max(s.turns, other + 1)
end
if is_unknown or is_new_here or s.next < now - SECOND then
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
  return turns_of_now[number] or tonumber(redis.call('HMGET', KEYS[1], place(number))[1] or 0)
end

local function went_out(number, at)
  turns_of_now[number] = at + (number < s.cold and cold or 0)
  set(place(number), turns_of_now[number])
end

local function pace()
  if s.low == 0 then
    return ceiling
  end
  local elapsed = math.min(math.max(now - s.cool, 0) / recovery, 1)
  return math.min(s.low + (ceiling - s.low) * elapsed ^ 3, ceiling)
end

-- Turns of the last second, which ends with the last one that is booked. (To count more than 2,000
-- would take Redis milliseconds.)
local function let_through()
  if kept > 2000 then
    return pace()
  end
  local count, last = 0, math.max(now, went_out_at(s.turns - 1))
  for number = math.max(s.turns - kept, s.valid), s.turns - 1 do
    if went_out_at(number) > last - SECOND then
      count = count + 1
    end
  end
  return count
end

local reply = {}
if operation == 'reserve' then
  local interval = SECOND * spacing / pace()
  reply = {now, pace() * 1000, math.max(s.cool - now, 0), s.turns}
  local earliest = math.max(now + lead, s.cool)
  for _ = 1, argument do
    local due = math.max(earliest, s.next, went_out_at(s.turns - kept) + window * kept / ceiling)
    went_out(s.turns, due)
    reply[#reply + 1] = due
    -- What the window cost is caught up with, within the tolerance.
    s.next = math.max(s.next + interval, due + interval - tolerance)
    s.turns = s.turns + 1
    earliest = due
  end
elseif operation == 'reject' then
  if argument > s.began then  -- else it was sent before this wave of 429s came back
    s.before, s.began = pace(), now
    s.through = let_through()
  end
  s.cool = math.max(s.cool, now + other)
  s.through = s.through - 1
  local floor = math.max(s.before * deepest_cut, lowest)
  local low = math.min(math.max(s.through * back_off, floor), s.before * back_off)
  s.low = math.min(math.max(low, lowest), s.before)
else
  for index = FIRST, #constants, 2 do
    local number, at = constants[index], constants[index + 1]
    if number < s.turns and s.turns - number <= s.ring then
      went_out(number, at)
    end
  end
end

for _, name in ipairs(FIELDS) do
  set(name, s[name])
end
redis.call('HSET', KEYS[1], unpack(changed))
local alive = math.max(s.next, s.cool, now) - now + 2 * recovery
redis.call('PEXPIRE', KEYS[1], math.ceil(alive / 1000))
return reply
