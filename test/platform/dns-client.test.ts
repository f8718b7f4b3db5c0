import { expect, test } from 'vitest';
import { askServer } from '../../src/platform/dns-client.ts';
import { recordType } from '../../src/wire/dns-data.ts';

test('a server that no route leads to is a failure at once, and no fault of the program', async () => {
  // The system refuses to connect to a broadcast address, as it does where there is no route.
  const server = { address: '255.255.255.255', port: 53 };
  const asked = askServer(server, { name: 'example.org', type: recordType.TXT }, 5000);
  await expect(asked).rejects.toThrow(/^255\.255\.255\.255 port 53: connect EACCES/);
});
