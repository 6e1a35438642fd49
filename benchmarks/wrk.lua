-- One load for wrk: `wrk -s benchmarks/wrk.lua URL -- BODY [NAME VALUE]...`. With a body it is a
-- POST of JSON. The last line that wrk prints is then a JSON object.

function init(args)
  if args[1] ~= "" then
    wrk.method = "POST"
    wrk.body = args[1]
    wrk.headers["Content-Type"] = "application/json"
  end
  for place = 2, #args, 2 do
    wrk.headers[args[place]] = args[place + 1]
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  local refused = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '{"count":%d,"refused":%d,"rate":%.9g,"p50":%.9g,"p99":%.9g}\n',
    summary.requests,
    refused,
    summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1e6,
    latency:percentile(99) / 1e6
  ))
end
