/**
 * Writes a record as answers of a server (responses.ts), for programs that train on the answers of vLLM or SGLang: the
 * tokens of each document, in order, with an array [tokens, layers, choices] of their experts.
 *
 * The experts of the whole record are in memory, four bytes each.
 */
import { open } from 'node:fs/promises'
import { formatValue } from '../../core/config/problems.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import { writeNpy } from './npy.ts'
import { readRoutes } from './read-routes.ts'
import type { ResponseLine } from './responses.ts'

interface Recorded {
  readonly position: number
  readonly token: number
  readonly experts: readonly number[]
}

/**
 * Writes the record in a folder to a new file.
 * @returns The number of lines: one for each document, or for each part of it that was recorded without gaps.
 * @throws UsageError if there is no record, its routers have no common number of choices, or the file exists already;
 * RunError if the record is damaged
 */
export async function writeResponses(
  folder: string,
  file: string,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<number> {
  const { header, tokens } = await readRoutes(folder)
  const refuse = (what: string): never => {
    throw new UsageError(wording`invalid ${option('export')}: ${what}`)
  }
  const [{ choices } = { choices: null }] = header.routers
  if (choices === null)
    return refuse('the experts of the record choose tokens, so tokens have no common number of experts')
  if (header.routers.some(({ module }) => module !== 'ffn'))
    return refuse('the record has experts in attention (an array has one router in each layer)')
  const byDocument = new Map<number, Recorded[]>()
  for await (const { document, position, token, routes } of tokens()) {
    signal?.throwIfAborted()
    const list = byDocument.get(document) ?? []
    list.push({ position, token, experts: routes.flatMap(({ experts }) => experts) })
    byDocument.set(document, list)
  }
  const handle = await open(file, 'wx').catch((error: NodeJS.ErrnoException): never =>
    error.code === 'EEXIST' ? refuse(`${formatValue(file)} exists (expected a new file)`) : refuse(error.message),
  )
  let lines = 0
  try {
    for (const { document, name } of header.documents)
      for (const part of withoutGaps(byDocument.get(document) ?? [])) {
        signal?.throwIfAborted()
        const shape = [part.length, header.routers.length, choices]
        const array = writeNpy(shape, Int32Array.from(part.flatMap(({ experts }) => experts)))
        const line: ResponseLine = {
          document,
          name,
          position: part[0]?.position ?? 0,
          token_ids: part.map(({ token }) => token),
          routed_experts: Buffer.from(array).toString('base64'),
        }
        await handle.writeFile(`${JSON.stringify(line)}\n`)
        lines++
      }
    await handle.sync()
  } finally {
    await handle.close()
  }
  return lines
}

/** The tokens of a document in order, in parts of adjacent positions. */
function withoutGaps(tokens: readonly Recorded[]): Recorded[][] {
  const parts: Recorded[][] = []
  let next = -1
  for (const token of [...tokens].sort((a, b) => a.position - b.position)) {
    if (token.position === next) parts.at(-1)?.push(token)
    else parts.push([token])
    next = token.position + 1
  }
  return parts
}
