/** Reads the items of `choir score`: JSON Lines of files or of standard input. */
import { formatValue } from '../../core/config/problems.ts'
import { UsageError } from '../../core/errors.ts'
import { count } from '../../core/text/numbers.ts'
import { filePieces } from '../../node/system/file-pieces.ts'
import { type NamedItem, scorable } from '../../use/infer/scoring/scorable.ts'
import type { Io } from './io.ts'

/** Most characters of a line: a file with longer ones is another file, and its lines would not fit into memory. */
const LINE_LIMIT = 50_000_000

/**
 * The items of the files, one in each line that is not empty, in their order.
 * @param paths Files; `-` is standard input.
 * @throws UsageError that names file and line, if a file is not text or a line is not an item
 */
export async function* readItems(
  io: Io,
  paths: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<NamedItem, void> {
  for (const path of paths) {
    const source = path === '-' ? 'standard input' : path
    let number = 0
    let items = 0
    for await (const line of linesOf(path === '-' ? stdin(io, signal) : file(path, signal), source)) {
      number++
      if (line.trim() === '') continue
      items++
      yield itemOf(line, `line ${number} of ${source}`)
    }
    if (items === 0) throw new UsageError(`invalid --data: ${source} is empty (expected lines of JSON)`)
  }
}

function itemOf(line: string, name: string): NamedItem {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new UsageError(`invalid ${name}: it is not JSON (expected a line such as {"text": "..."})`)
  }
  return scorable(value, name)
}

async function* file(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  try {
    yield* filePieces(path, 0, signal)
  } catch (error) {
    signal.throwIfAborted()
    const { code, message } = error as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'there is no such file' : message
    throw new UsageError(`invalid --data: cannot read ${formatValue(path)}: ${reason}; standard input is -`)
  }
}

async function* stdin({ stdin, stderr }: Io, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  if (stdin.isTTY) stderr.write('choir: type lines of JSON; end them with Ctrl-D at the beginning of a line\n')
  const chunks = stdin[Symbol.asyncIterator]()
  for (;;) {
    signal.throwIfAborted()
    const { done, value } = await orAborted(chunks.next(), signal)
    if (done) return
    yield Buffer.from(value)
  }
}

/** The result of some work, or the reason of the signal. Nothing is kept after it: a race would keep every result. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

/** The lines of a text in UTF-8, without a byte order mark. */
async function* linesOf(chunks: AsyncIterable<Uint8Array>, source: string): AsyncGenerator<string, void> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const decoded = (chunk?: Uint8Array): string => {
    try {
      const text = chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode()
      if (!text.includes('\0')) return text
    } catch {
      // The same message as for a NUL character.
    }
    throw new UsageError(`invalid --data: ${source} is not text in UTF-8 (expected lines of JSON)`)
  }
  let rest: string[] = []
  let length = 0
  const complete = function* (text: string): Generator<string, void> {
    const lines = text.split('\n')
    const last = lines.pop() as string
    for (const line of lines) {
      yield [...rest, line].join('')
      rest = []
      length = 0
    }
    rest.push(last)
    length += last.length
    if (length > LINE_LIMIT)
      throw new UsageError(
        `invalid --data: ${source} has a line of more than ${count(LINE_LIMIT)} characters (expected lines of JSON, one for each text)`,
      )
  }
  for await (const chunk of chunks) yield* complete(decoded(chunk))
  yield* complete(decoded())
  yield rest.join('')
}
