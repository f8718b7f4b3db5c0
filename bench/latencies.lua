-- wrk(1) runs this. With an argument, "wrk ... URL -- 20", each connection waits before every request, for up to so many milliseconds, by lot.
function init(args)
  local longest = tonumber(args[1])
  if longest then
    math.randomseed(os.time())
    function delay() return math.random(0, longest) end
  end
end

-- Once it is done: one line for each latency that was seen, in microseconds, and how often, so that those of several processes can be taken together.
function done(_, latency, _)
  for i = 1, #latency do
    local value, count = latency(i)
    io.write(string.format("latency %d %d\n", value, count))
  end
end
