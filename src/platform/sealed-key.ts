import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';

const cipher = 'aes-256-gcm';
const tagBytes = 16;

/** A key of X25519 (RFC 7748) that lives as long as the process. */
export interface ExchangeKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly privateKey: KeyObject;
}

export interface SealedKey {
  readonly giverKey: Uint8Array;
  readonly nonce: Uint8Array;
  readonly sealed: Uint8Array;
}

export function exchangeKey(): ExchangeKey {
  const { publicKey, privateKey } = generateKeyPairSync('x25519');
  return {
    publicKey: new Uint8Array(Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url')),
    privateKey,
  };
}

/** Only the holder of the private key to `recipientKey` can open it, and only under the same `context`. Throws when `recipientKey` is none. */
export function sealKey(secret: Uint8Array, recipientKey: Uint8Array, context: string): SealedKey {
  const own = exchangeKey();
  const nonce = randomBytes(12);
  const key = sharedKey(own.privateKey, recipientKey, recipientKey, own.publicKey, context);
  const sealing = createCipheriv(cipher, key, nonce);
  const sealed = Buffer.concat([sealing.update(secret), sealing.final(), sealing.getAuthTag()]);
  return { giverKey: own.publicKey, nonce, sealed };
}

/** Null when it was sealed for somebody else, under another context, or changed. */
export function openKey({ giverKey, nonce, sealed }: SealedKey, own: ExchangeKey, context: string): Uint8Array | null {
  try {
    const key = sharedKey(own.privateKey, giverKey, own.publicKey, giverKey, context);
    const opening = createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes });
    opening.setAuthTag(sealed.subarray(-tagBytes));
    return Buffer.concat([opening.update(sealed.subarray(0, -tagBytes)), opening.final()]);
  } catch {
    return null;
  }
}

function sharedKey(
  privateKey: KeyObject,
  otherKey: Uint8Array,
  recipientKey: Uint8Array,
  giverKey: Uint8Array,
  context: string,
): Uint8Array {
  const x = Buffer.from(otherKey).toString('base64url');
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
  const secret = diffieHellman({ privateKey, publicKey });
  return new Uint8Array(hkdfSync('sha256', secret, Buffer.concat([recipientKey, giverKey]), context, 32));
}
