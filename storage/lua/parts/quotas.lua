-- quotas: each is a number as text, "0" for any number.
local function is_over(most, used) return tonumber(most) > 0 and used >= tonumber(most) end

-- Count a context among those of its owner that are at work, unless a quota is used up.
--
-- turns, tokens: keys of the owner; turns_max, tokens_max: the quotas
-- Returns nil | {"over", quota, how many are used}
local function begin_turn(context_id, turns, tokens, turns_max, tokens_max)
  local at_work = redis.call("SCARD", turns)
  if is_over(turns_max, at_work) and redis.call("SISMEMBER", turns, context_id) == 0 then
    return {"over", "turns", at_work}
  end
  if tokens_max ~= "0" then
    local spent = redis.call("HMGET", tokens, "day", "used")
    local today = math.floor(tonumber(redis.call("TIME")[1]) / 86400)
    local used = tonumber(spent[1]) == today and tonumber(spent[2]) or 0
    if is_over(tokens_max, used) then return {"over", "tokens", used} end
  end
  redis.call("SADD", turns, context_id)
end
