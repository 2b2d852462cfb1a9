-- One load: METHOD PATH [KEYS [BODY]].
--
-- KEYS > 0 spreads the requests over PATH/0 .. PATH/KEYS-1, in order and then again from the start.
-- The token comes from VAULT_TOKEN, so that it never shows in a process list. The requests are built
-- once, before the clock starts. At the end one JSON line goes to stderr:
-- latencies in microseconds, errors by kind ("status" counts answers over 399).

local requests, position = {}, 0

function init(args)
  local method, path = args[1], args[2]
  local keys, body = tonumber(args[3] or "0"), args[4]
  local headers = { ["X-Vault-Token"] = os.getenv("VAULT_TOKEN") }
  if body then headers["Content-Type"] = "application/json" end
  if keys == 0 then requests[1] = wrk.format(method, path, headers, body) end
  for key = 0, keys - 1 do
    requests[key + 1] = wrk.format(method, path .. "/" .. key, headers, body)
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_us":%d,"p90_us":%d,"p99_us":%d,"max_us":%d,' ..
    '"errors":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max,
    e.connect, e.read, e.write, e.timeout, e.status))
end
