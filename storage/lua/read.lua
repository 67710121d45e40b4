#!lua flags=no-writes
-- read: a context as it is now, or what has happened since the caller last looked.
--
-- KEYS 1 meta  2 log  3 snap  4 msgs  5 draft  6 results  7 gone  8 base
-- ARGV 1 owner, or "" for anybody's  2 version that the caller has, or -1  3 its n
--      4 1: only tell whether it changed  5 seq of an action whose result is wanted, or 0
-- Returns {"missing"} | {"gone"} | {"same", version, n, mail_seq, result}
--      | {"changed", version, n, mail_seq, result}
--      | {"state", version, n, mail_seq, result, draft, snapshot version, head, {message...}, {event...}}
--        (snapshot version is what the caller has, if it has one that the log continues)
--- include history
local meta = redis.call("HMGET", KEYS[1], "owner", "version", "n", "mail_seq", "first")
if not meta[1] then
  local owner = redis.call("HGET", KEYS[7], "owner")
  return {owner and owner == ARGV[1] and "gone" or "missing"}
end
if ARGV[1] ~= "" and meta[1] ~= ARGV[1] then return {"missing"} end
local version, n, mail_seq = tonumber(meta[2]), tonumber(meta[3]), tonumber(meta[4])
local result = ""
if ARGV[5] ~= "0" then result = redis.call("HGET", KEYS[6], ARGV[5]) or "" end
local known = tonumber(ARGV[2])
if known == version and tonumber(ARGV[3]) == n then return {"same", version, n, mail_seq, result} end
if ARGV[4] == "1" then return {"changed", version, n, mail_seq, result} end
local from, head, messages, events = history(known, version, tonumber(meta[5] or 1),
  KEYS[2], KEYS[3], KEYS[4], KEYS[8])
local draft = n > 0 and redis.call("GET", KEYS[5]) or ""
return {"state", version, n, mail_seq, result, draft, from, head, messages, events}
