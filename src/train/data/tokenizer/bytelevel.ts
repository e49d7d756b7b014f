/**
 * The byte-level alphabet of GPT-2, in which the vocabulary of a byte-level tokenizer is written: one printable
 * character for each of the 256 bytes. A printable byte maps to itself, the other bytes map to characters from U+0100
 * on.
 */

/** The character of each byte. */
export const byteCharacters: readonly string[] = (() => {
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
    return String.fromCharCode(printable ? byte : next++)
  })
})()

const byteOfCharacter = new Map(byteCharacters.map((character, byte) => [character, byte]))

/**
 * The bytes of a token of a byte-level vocabulary. For a token with a character outside the alphabet
 * (an added token such as "<|été|>") these are its UTF-8 bytes, as in Hugging Face's decoder.
 */
export function bytesOfToken(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length)
  let i = 0
  for (const character of token) {
    const byte = byteOfCharacter.get(character)
    if (byte === undefined) return new TextEncoder().encode(token)
    bytes[i++] = byte
  }
  return bytes
}

/** Bytes as text; bytes that do not form a whole UTF-8 character are written like byte tokens, e.g. `<0xE2>`. */
export function readableBytes(bytes: Uint8Array): string {
  const utf8 = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true })
  const characterAt = (from: number): [text: string, length: number] => {
    for (let length = 1; length <= Math.min(4, bytes.length - from); length++)
      try {
        return [utf8.decode(bytes.subarray(from, from + length)), length]
      } catch {
        // A longer slice may be a whole character.
      }
    return [`<0x${(bytes[from] as number).toString(16).toUpperCase().padStart(2, '0')}>`, 1]
  }
  let text = ''
  for (let at = 0; at < bytes.length; ) {
    const [character, length] = characterAt(at)
    text += character
    at += length
  }
  return text
}
