-- history: what somebody lacks who has seen a context at version `known`, or not at all (-1).
--
-- log, snap, msgs, base: keys; first: the oldest version in the log
-- Returns the version to go on from, the state at that version (a head and its messages; "" and
-- none where `known` will do, or the log begins with version 1), and the events after it.
local function history(known, version, first, log, snap, msgs, base)
  local head, messages, events = "", {}, {}
  if known < first - 1 or known > version then
    local saved = redis.call("HMGET", snap, "version", "head")
    known = tonumber(saved[1] or 0)
    if known >= first - 1 then
      head = saved[2] or ""
      if known > 0 then messages = redis.call("LRANGE", msgs, 0, -1) end
    else
      known = tonumber(redis.call("HGET", base, "version"))
      head = redis.call("HGET", base, "state")
    end
  end
  if known < version then
    for _, entry in ipairs(redis.call("XRANGE", log, (known + 1) .. "-0", "+")) do
      events[#events + 1] = entry[2][2]
    end
  end
  return known, head, messages, events
end
