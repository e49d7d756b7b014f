/** Reads the prompt of a text, from standard input if it is given as `-`. */
import { UsageError } from '../../core/errors.ts'
import type { Io } from './io.ts'

/**
 * Returns the prompt, or another text that is given in this way. One line break at the end of standard input is removed, since editors and `echo` add one.
 * @throws UsageError if standard input is empty or not UTF-8 text
 */
export async function readPrompt(io: Io, given: string, flag = '--prompt'): Promise<string> {
  if (given !== '-') return given
  if (io.stdin.isTTY) io.stderr.write('choir: type the prompt; end it with Ctrl-D at the beginning of a line\n')
  const chunks: Buffer[] = []
  for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk))
  const bytes = Buffer.concat(chunks)
  const text = decode(bytes, flag).replace(/\r?\n$/, '')
  if (text === '') throw new UsageError(`invalid ${flag}: standard input is empty (expected text)`)
  return text
}

function decode(bytes: Uint8Array, flag: string): string {
  const invalid = (what: string) => new UsageError(`invalid ${flag}: standard input ${what} (expected text in UTF-8)`)
  const nul = bytes.indexOf(0)
  if (nul >= 0) throw invalid(`has a NUL byte at offset ${nul}`)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw invalid('is not UTF-8')
  }
}
