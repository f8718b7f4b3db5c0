import forge from 'node-forge';

const { asn1, pki } = forge;

/** A private key encrypted with AES-256 in CBC mode, under a key derived from a passphrase by PBKDF2 with HMAC-SHA256. */
export interface EncryptedKey {
  readonly salt: Uint8Array;
  readonly iterations: number;
  /** 16 bytes. */
  readonly initialVector: Uint8Array;
  /** Of the key's PKCS#8 form, padded as RFC 8018, 6.1.1 says. */
  readonly ciphertext: Uint8Array;
}

/** PEM of an EncryptedPrivateKeyInfo (RFC 5958, section 3) by PBES2 (RFC 8018, A.4), which OpenSSL reads. Node's own export has a fixed, small number of iterations. */
export function encryptedKeyPem({ salt, iterations, initialVector, ciphertext }: EncryptedKey): string {
  const derivation = sequence(
    identifier('1.2.840.113549.1.5.12'),
    sequence(octets(salt), integer(iterations), sequence(identifier('1.2.840.113549.2.9'), nothing())),
  );
  const encryption = sequence(identifier('2.16.840.1.101.3.4.1.42'), octets(initialVector));
  const algorithm = sequence(identifier('1.2.840.113549.1.5.13'), sequence(derivation, encryption));
  return pki.encryptedPrivateKeyToPem(sequence(algorithm, octets(ciphertext))).replaceAll('\r\n', '\n');
}

function sequence(...parts: forge.asn1.Asn1[]): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, parts);
}

function identifier(oid: string): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OID, false, asn1.oidToDer(oid).getBytes());
}

function integer(value: number): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.INTEGER, false, asn1.integerToDer(value).getBytes());
}

function octets(bytes: Uint8Array): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OCTETSTRING, false, forge.util.binary.raw.encode(bytes));
}

function nothing(): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.NULL, false, '');
}
