import type { NextHop } from '../dataplane/edge.ts';
import type { FlowTags } from '../router/tags.ts';

/** The tags of a router's kernel that send TCP flows on. The same map for the same flows: what does not differ need not be compared. */
export function createTagsOf(): (flows: FlowTags) => ReadonlyMap<string, NextHop> {
  let last: { readonly flows: FlowTags; readonly tags: ReadonlyMap<string, NextHop> } | null = null;
  return (flows) => {
    if (last?.flows !== flows) {
      const tags = [...flows].map(
        ([key, { address, link }]) => [key.replace(' . ', tcp), { address, device: link }] as const,
      );
      last = { flows, tags: new Map(tags) };
    }
    return last.tags;
  };
}

/** The TCP flows among the tags of a kernel. */
export function flowsOf(tags: ReadonlyMap<string, NextHop>): FlowTags {
  return new Map(
    [...tags].flatMap(([key, { address, device }]) =>
      key.includes(tcp) ? [[key.replace(tcp, ' . '), { address, link: device }] as const] : [],
    ),
  );
}

/** What a key of `EdgeService.tags` has besides that of a TCP flow. */
const tcp = ' . tcp . ';
