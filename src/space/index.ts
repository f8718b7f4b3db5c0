export { coverSlots } from './cover.ts';
export { accepts, type Filter, formatFilter } from './filter.ts';
export { maskedAddressOf, type Partition, partitionOf, slotBitsMax, slotOf } from './partition.ts';
export { formatSlots, parseSlots, slotRanges } from './slot-ranges.ts';
