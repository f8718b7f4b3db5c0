import forge from 'node-forge';

/** DER of the one certificate in a PEM text that was read before. */
export function certificateDer(pem: string): Uint8Array {
  return forge.util.binary.raw.decode(forge.pem.decode(pem)[0]?.body ?? '');
}

export function certificatePem(der: Uint8Array): string {
  const body = forge.util.binary.raw.encode(der);
  return forge.pem.encode({ type: 'CERTIFICATE', body }).replaceAll('\r\n', '\n');
}

/** SHA-256 over the DER, in hexadecimal, lower case: how configuration and registry name a certificate. */
export function certificateFingerprint(der: Uint8Array): string {
  return forge.md.sha256.create().update(forge.util.binary.raw.encode(der)).digest().toHex();
}
