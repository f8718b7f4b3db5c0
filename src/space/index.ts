export { coverSlots } from './cover.ts';
export { accepts, type Filter, formatFilter, parseFilter } from './filter.ts';
export { maskedAddressOf, type Partition, partitionOf, slotBitsMax, slotOf } from './partition.ts';
export { formatSlots, parseSlots, slotRanges } from './slot-ranges.ts';
