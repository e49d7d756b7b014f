/**
 * Opens the routes that a training replays (`data.replay`). A record has the documents of the whole text in the order of
 * the source, as `choir routing RUN --data SOURCE` reads it and a server answers it. The training stream has those that are
 * not held out, in seeded order. So the whole text is opened beside it, and says which document is which.
 */
import type { RunConfig } from '../../core/config/run-config.ts'
import { sha256 } from '../../core/sha256.ts'
import { grouped, percent } from '../../core/text/numbers.ts'
import type { TrainingReplay } from '../../train/data/batches.ts'
import type { Dataset, HeldOutDocument } from '../../train/data/dataset.ts'
import type { TokenStream } from '../../train/data/streams/token-stream.ts'
import { trainingDocumentAt } from '../../train/data/streams/write-streams.ts'
import { fromFirst, refuseDifferences, together } from '../../train/run/agreement.ts'
import { type Place, PlacesInDocuments } from '../routes/places.ts'
import { ReplayedRoutes } from '../routes/replay.ts'
import { openRunData } from '../run/session.ts'
import type { TrainOptions } from './options.ts'

/** Number of tokens that are read at once. */
const READ_TOKENS = 1 << 16

/**
 * The routes, equal on all ranks; null if routers choose. A notice says for how many tokens there are routes.
 * @throws UsageError if the record is of another text, tokenizer or routers, or has no token that is trained on; the
 * reason of the signal when it is aborted, unless there are ranks
 */
export async function openReplay(
  config: RunConfig,
  data: Dataset,
  { directory, signal, onEvent, ranks = null }: TrainOptions,
): Promise<TrainingReplay | null> {
  const { replay: path } = config.data
  if (path === null) return null
  const open = () => readReplay(path, config, data, directory, ranks ? undefined : signal)
  // The first rank puts the tokens of the whole text into the cache, where the other ranks find them.
  let opened: Awaited<ReturnType<typeof open>> | null = null
  await fromFirst(ranks, async () => {
    opened = await open()
    return null
  })
  const { replay, found } = await together(ranks, () => opened ?? open())
  await refuseDifferences(ranks, { 'the record of routes': replay.hash })
  const { length } = data.train
  const message = `the routes of ${path} are replayed for ${percent(found / length)} of the training tokens (${grouped(found)} of ${grouped(length)})`
  onEvent?.({ kind: 'notice', message })
  return replay
}

async function readReplay(
  path: string,
  config: RunConfig,
  data: Dataset,
  directory: string,
  signal: AbortSignal | undefined,
): Promise<{ readonly replay: TrainingReplay; readonly found: number }> {
  const whole = await openRunData(config, {
    ...{ directory, tokenizer: data.tokenizer, holdOutAll: true, onProgress: () => {} },
    ...(signal && { signal }),
  })
  try {
    const routes = await ReplayedRoutes.read(path, {
      ...{ model: config.model, tokenizer: await sha256(data.tokenizer.json), text: whole.hash, signal },
      ...{ field: 'data.replay', expected: 'one of the whole text: choir routing RUN --data SOURCE' },
    })
    const placeOf = await trainingPlaces(whole, data, config.data.seed)
    const found = countFound(routes, data.train, placeOf, signal)
    routes.expectFound(found)
    const replay: TrainingReplay = {
      hash: routes.hash(),
      choices: routes.choices,
      fill: (position, token, experts, t) => routes.fill(placeOf(position), token, experts, t),
    }
    return { replay, found }
  } finally {
    await whole.close()
  }
}

/** Number of tokens of a stream that have routes. Each of them is checked. */
function countFound(
  routes: ReplayedRoutes,
  stream: TokenStream,
  placeOf: (position: number) => Place | null,
  signal: AbortSignal | undefined,
): number {
  let found = 0
  for (let from = 0; from < stream.length; from += READ_TOKENS) {
    signal?.throwIfAborted()
    const part = tokensOf(stream, { start: from, length: Math.min(READ_TOKENS, stream.length - from) })
    for (const [i, token] of part.entries()) if (routes.has(placeOf(from + i), token)) found++
  }
  return found
}

/**
 * The place in the whole text of each position of the training stream; null for the token before the first document.
 * Both texts have the held-out documents in the same order, and equal documents are on the same side, so the documents
 * of the whole text that have the tokens of the next held-out one are held out.
 */
async function trainingPlaces(
  whole: Dataset,
  { train, heldOut, heldOutDocuments }: Dataset,
  seed: number,
): Promise<(position: number) => Place | null> {
  const held = heldOutDocuments()[Symbol.asyncIterator]()
  const training: (HeldOutDocument & { readonly document: number })[] = []
  let next = await held.next()
  let document = 0
  for await (const each of whole.heldOutDocuments()) {
    const isHeldOut =
      !next.done && each.length === next.value.length && isEqual(whole.heldOut, each, heldOut, next.value)
    if (isHeldOut) next = await held.next()
    else training.push({ ...each, document })
    document++
  }
  // The stream begins with an end of text.
  let start = 1
  const ordered = training.map((_, place) => {
    const each = training[trainingDocumentAt(place, training.length, seed)] as (typeof training)[number]
    const placed = { ...each, start }
    start += each.length
    return placed
  })
  if (!next.done || start !== train.length) throw new Error('internal: the training text is no part of the whole text')
  const places = await PlacesInDocuments.of({
    async *heldOutDocuments() {
      yield* ordered
    },
  })
  return (position) => {
    const place = places.at(position)
    return place && { ...place, document: (ordered[place.document] as (typeof ordered)[number]).document }
  }
}

type Range = Pick<HeldOutDocument, 'start' | 'length'>

const isEqual = (a: TokenStream, inA: Range, b: TokenStream, inB: Range): boolean => {
  const other = tokensOf(b, inB)
  return tokensOf(a, inA).every((token, i) => token === other[i])
}

function tokensOf(stream: TokenStream, { start, length }: Range): Int32Array {
  const tokens = new Int32Array(length)
  stream.read(start, tokens)
  return tokens
}
