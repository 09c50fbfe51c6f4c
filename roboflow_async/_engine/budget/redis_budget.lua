-- What several processes have used of one budget.
--
-- KEYS[1]  a hash, which expires when nobody uses it
-- ARGV     requests that are wanted; requests that were granted before and not sent; what was spent;
--          the limits for both, or -1; milliseconds to keep it
-- Returns  requests that are granted; requests and credits that are used, with them
-- Credits are whole billionths. Whoever may write to the hash may write anything: what is read counts
-- only within bounds.

local MOST = 9e15  -- whole numbers are exact up to here
local function number(text)
  local found = tonumber(text)
  if found == nil or not (found >= 0 and found <= MOST) then
    return 0
  end
  return math.floor(found)
end

local wanted, returned, spent = number(ARGV[1]), number(ARGV[2]), number(ARGV[3])
local most_requests, most_credits = tonumber(ARGV[4]), tonumber(ARGV[5])
local stored = redis.call('HMGET', KEYS[1], 'requests', 'credits')
local requests = math.max(number(stored[1]) - returned, 0)
local credits = math.min(number(stored[2]) + spent, MOST)
local granted = wanted
if most_requests >= 0 then
  granted = math.min(granted, math.max(most_requests - requests, 0))
end
if most_credits >= 0 and credits >= most_credits then
  granted = 0
end
requests = math.min(requests + granted, MOST)
if granted > 0 or returned > 0 or spent > 0 then
  redis.call('HSET', KEYS[1], 'requests', string.format('%.0f', requests))
  redis.call('HSET', KEYS[1], 'credits', string.format('%.0f', credits))
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
return {granted, requests, credits}
