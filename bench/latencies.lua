-- wrk(1) runs this once it is done: one line for each latency that was seen, in microseconds, and how often, so that those of several processes can be taken together.
function done(_, latency, _)
  for i = 1, #latency do
    local value, count = latency(i)
    io.write(string.format("latency %d %d\n", value, count))
  end
end
