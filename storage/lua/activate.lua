#!lua flags=allow-oom
-- activate: take ownership of a context and load all of it, in one step.
--
-- A living worker keeps its contexts; a dead one's are taken. The token grows with every
-- activation, so that commits of the one before are refused from here on. It names the epoch,
-- so that those of what the store has lost are refused as well: it counts again from there.
--
-- KEYS 1 meta  2 log  3 mail  4 snap  5 msgs  6 draft  7 the worker's session
--      8 the worker's contexts  9 ready  10 epoch  11 base
-- ARGV 1 context id  2 worker id  3 version of a snapshot that the caller has, or -1
--      4 name of the calling process  5 its own number of this call, which only grows
--      6 epoch in which that snapshot counts
-- Returns {"active", token, version, snapshot version, head, {message...}, {event...},
--          {seq, mail, seq, mail...}, draft, attempts, worker that had it or "",
--          first version in the log, trace of the running turn or "", owner of the context}
--      | {"missing"} | {"busy", worker} | {"no-session"} | {"stale"}
--      attempts: activations before this one that began and have committed nothing since
--      stale: an older call, executed late; the process has begun a newer activation
--- include history
local meta = redis.call("HMGET", KEYS[1], "owner", "worker", "version", "activation", "attempts",
  "first", "trace")
if not meta[1] then
  redis.call("ZREM", KEYS[9], ARGV[1])
  return {"missing"}
end
local process, number = string.match(meta[4] or "", "^(%S+) (%d+)$")
if process == ARGV[4] and tonumber(ARGV[5]) <= tonumber(number) then return {"stale"} end
if redis.call("EXISTS", KEYS[7]) == 0 then return {"no-session"} end
local before, version = meta[2], tonumber(meta[3])
if before ~= "" and before ~= ARGV[2] then
  if redis.call("EXISTS", "worker:" .. before .. ":session") == 1 then
    -- Whoever asks may have heard of mail that its owner has not: a lost publication.
    redis.call("PUBLISH", "worker:" .. before .. ":mail", ARGV[1] .. "\n0\n")
    return {"busy", before}
  end
  redis.call("SREM", "worker:" .. before .. ":contexts", ARGV[1])
end
local token = redis.call("HINCRBY", KEYS[1], "token", 1)
local attempts = tonumber(meta[5] or 0)
redis.call("HSET", KEYS[1], "worker", ARGV[2], "activation", ARGV[4] .. " " .. ARGV[5],
  "attempts", math.max(attempts, 1))
redis.call("SADD", KEYS[8], ARGV[1])
local first = tonumber(meta[6] or 1)
local epoch = redis.call("HGET", KEYS[10], "n") or ""
local saved = epoch == ARGV[6] and tonumber(ARGV[3]) or -1
local known, head, messages, events = history(saved, version, first,
  KEYS[2], KEYS[4], KEYS[5], KEYS[11])
local mail = {}
for _, entry in ipairs(redis.call("XRANGE", KEYS[3], "-", "+")) do
  mail[#mail + 1] = tonumber(string.match(entry[1], "^%d+"))
  mail[#mail + 1] = entry[2][2]
end
if #mail == 0 then redis.call("ZREM", KEYS[9], ARGV[1]) end
return {"active", epoch .. "." .. token, version, known, head, messages, events, mail,
  redis.call("GET", KEYS[6]) or "", attempts, before, first, meta[7] or "", meta[1]}
