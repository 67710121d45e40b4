#!lua flags=allow-oom
-- take: start up to `room` queued jobs on a worker, as rq itself would show them.
--
-- Takes of a worker are numbered. One that is repeated, or that arrives late, gets the jobs
-- of its number again and no others. A worker without a session gets nothing, so that no
-- job is started on a worker that others have forgotten.
--
-- Executions never expire by time (score +inf): the worker's session says that they live,
-- and `finish` ends them. A job that is in the queue but not queued is somebody's already;
-- one without status or data is junk and is deleted, for its context could never be
-- enqueued again.
--
-- The crowd is taken from when the queue is empty, and is never there without a queue before it:
-- the queue is what workers that have nothing to do look at.
--
-- rq's keys live on one primary: those of jobs and executions are made up here.
--
-- KEYS 1 queue (list)  2 started jobs (zset)  3 rq's worker (hash)
--      4 jobs of the worker: id -> execution id (hash)  5 number of its last take (string)
--      6 its session  7 crowd (list)
-- ARGV 1 worker id  2 number of this take  3 room  4 now (rq's format)  5 now (s)
-- Returns {"buried"} | {"taken", how many were dropped, job id, execution id, data, job id...}
if redis.call("EXISTS", KEYS[6]) == 0 then return {"buried"} end
local execution = ARGV[1] .. "-" .. ARGV[2]
if tonumber(redis.call("GET", KEYS[5]) or 0) >= tonumber(ARGV[2]) then
  local reply, jobs = {"taken", 0}, redis.call("HGETALL", KEYS[4])
  for i = 1, #jobs, 2 do
    if jobs[i + 1] == execution then
      reply[#reply + 1] = jobs[i]
      reply[#reply + 1] = execution
      reply[#reply + 1] = redis.call("HGET", "rq:job:" .. jobs[i], "data") or ""
    end
  end
  return reply
end

local room, ids = tonumber(ARGV[3]), {}
for _, line in ipairs({KEYS[1], KEYS[7]}) do
  local left = room - #ids
  if left > 0 then
    for _, id in ipairs(redis.call("LRANGE", line, 0, left - 1)) do ids[#ids + 1] = id end
  end
end
local found, junk, seen = {}, {}, {}
for _, id in ipairs(ids) do
  if not seen[id] then
    seen[id] = true
    local job = redis.pcall("HMGET", "rq:job:" .. id, "status", "data")
    if job.err or not job[1] or not job[2] then
      junk[#junk + 1] = "rq:job:" .. id
    elseif job[1] == "queued" then
      found[#found + 1] = {id, job[2]}
    end
  end
end

redis.call("SET", KEYS[5], ARGV[2])
local reply = {"taken", #ids - #found}
if #ids == 0 then return reply end
local first = math.min(#ids, redis.call("LLEN", KEYS[1]))
redis.call("LTRIM", KEYS[1], first, -1)
redis.call("LTRIM", KEYS[7], #ids - first, -1)
if redis.call("EXISTS", KEYS[1]) == 0 and redis.call("EXISTS", KEYS[7]) == 1 then
  redis.call("RPUSH", KEYS[1], redis.call("LPOP", KEYS[7]))
end
for _, key in ipairs(junk) do redis.call("DEL", key) end
for _, job in ipairs(found) do
  local id = job[1]
  local composite = id .. ":" .. execution
  redis.call("HSET", "rq:job:" .. id, "status", "started", "started_at", ARGV[4],
    "last_heartbeat", ARGV[4], "worker_name", ARGV[1])
  redis.call("PERSIST", "rq:job:" .. id) -- a failed job that rq has queued again would expire
  redis.call("HSET", "rq:execution:" .. composite, "id", execution, "created_at", ARGV[5],
    "last_heartbeat", ARGV[5], "worker_name", ARGV[1])
  redis.call("ZADD", "rq:executions:" .. id, "+inf", execution)
  redis.call("ZADD", KEYS[2], "+inf", composite)
  redis.call("HSET", KEYS[4], id, execution)
  reply[#reply + 1] = id
  reply[#reply + 1] = execution
  reply[#reply + 1] = job[2]
end
if #found > 0 and redis.call("EXISTS", KEYS[3]) == 1 then
  redis.call("HSET", KEYS[3], "state", "busy", "current_job", found[#found][1])
end
return reply
