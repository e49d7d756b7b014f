/**
 * Compares two records of the same text, such as of a model and of its export, or of two checkpoints: how often do they
 * choose the same experts? Tokens are matched by document and position, so the records may be in different orders.
 */
import { UsageError } from '../../core/errors.ts'
import type { RecordedRouter, Route, RoutedToken, RoutesHeader } from '../../node/routes/format.ts'
import { type RoutesRecord, readRoutes } from '../../node/routes/read-routes.ts'
import { dealDocuments } from '../../train/data/document-groups.ts'
import { bootstrapTexts } from '../study/bootstrap.ts'

export interface RouterAgreement extends Pick<RecordedRouter, 'layer' | 'module'> {
  /** Share of the tokens for which both records have the same experts, in any order, with its 95 % interval. */
  readonly same: number
  readonly interval: readonly [low: number, high: number] | null
  /** Share of the choices of the first record that the second one has too. */
  readonly common: number
  /** Largest difference of the gates of common choices. */
  readonly gate_difference: number
}

export interface RoutesComparison {
  readonly kind: 'comparison'
  /** Number of tokens that both records have, and that only one has. */
  readonly tokens: number
  readonly only_first: number
  readonly only_second: number
  /** Share of decisions, over all tokens and routers, with the same experts. */
  readonly same: number
  readonly routers: readonly RouterAgreement[]
}

/**
 * Compares the records in two folders.
 * @throws UsageError if a folder has no record, or the records are of other texts or routers; RunError if one is damaged
 */
export async function compareRoutes(
  first: string,
  second: string,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<RoutesComparison> {
  const records = [await readRoutes(first), await readRoutes(second)] as const
  expectSameRouters(records[0].header, records[1].header)
  const { documents, routers } = records[0].header
  const { groups, groupOf } = dealDocuments(documents)
  const groupOfDocument = new Map(documents.map(({ document }, i) => [document, groupOf[i] as number]))
  const counts = routers.map(() => new Agreement(groups))
  const tokens = new Float64Array(groups)
  const unmatched = [new Map<string, RoutedToken>(), new Map<string, RoutedToken>()] as const
  let matched = 0
  for await (const [side, token] of inTurns(records)) {
    const place = `${token.document} ${token.position}`
    const other = unmatched[(1 - side) as 0 | 1].get(place)
    if (!other) {
      unmatched[side].set(place, token)
      continue
    }
    unmatched[(1 - side) as 0 | 1].delete(place)
    const [mine, theirs] = side === 0 ? [token, other] : [other, token]
    expectSameToken(mine, theirs)
    const group = groupOfDocument.get(token.document) ?? 0
    tokens[group] = (tokens[group] as number) + 1
    for (const [i, count] of counts.entries()) count.add(mine.routes[i] as Route, theirs.routes[i] as Route, group)
    if (++matched % 1024 === 0) signal?.throwIfAborted()
  }
  if (matched === 0) throw new UsageError(`invalid records: ${first} and ${second} have no token in common`)
  const agreements = counts.map((count, i) => count.of(routers[i] as RecordedRouter, tokens))
  return {
    kind: 'comparison',
    tokens: matched,
    only_first: unmatched[0].size,
    only_second: unmatched[1].size,
    same: agreements.reduce((sum, { same }) => sum + same, 0) / agreements.length,
    routers: agreements,
  }
}

/** Tokens of both records in turns, so that few wait for their partner if the orders are the same. */
async function* inTurns(records: readonly [RoutesRecord, RoutesRecord]): AsyncGenerator<readonly [0 | 1, RoutedToken]> {
  const streams = [records[0].tokens(), records[1].tokens()] as const
  const ended = [false, false]
  try {
    while (!ended[0] || !ended[1])
      for (const side of [0, 1] as const) {
        if (ended[side]) continue
        const next = await streams[side].next()
        if (next.done) ended[side] = true
        else yield [side, next.value]
      }
  } finally {
    // Closes the files if the comparison ends early.
    for (const stream of streams) await stream.return()
  }
}

/** Counts for a router, by group of documents. */
class Agreement {
  private readonly same: Float64Array
  private choices = 0
  private common = 0
  private difference = 0

  constructor(groups: number) {
    this.same = new Float64Array(groups)
  }

  add(first: Route, second: Route, group: number): void {
    let common = 0
    for (const [i, expert] of first.experts.entries()) {
      const at = second.experts.indexOf(expert)
      if (at < 0) continue
      common++
      this.difference = Math.max(this.difference, Math.abs((first.gates[i] as number) - (second.gates[at] as number)))
    }
    this.choices += first.experts.length
    this.common += common
    const isSame = common === first.experts.length && common === second.experts.length
    if (isSame) this.same[group] = (this.same[group] as number) + 1
  }

  of({ layer, module }: RecordedRouter, tokens: Float64Array): RouterAgreement {
    const groups = Array.from(tokens, (targets, group) => ({ domain: 0, targets, total: this.same[group] as number }))
    return {
      layer,
      module,
      same: this.same.reduce((sum, count) => sum + count, 0) / tokens.reduce((sum, count) => sum + count, 0),
      interval: bootstrapTexts(groups)?.interval ?? null,
      common: this.choices > 0 ? this.common / this.choices : 1,
      gate_difference: this.difference,
    }
  }
}

function expectSameRouters(first: RoutesHeader, second: RoutesHeader): void {
  const names = ({ routers }: RoutesHeader) =>
    routers.map(({ layer, module, experts }) => `layer ${layer}, ${module}, ${experts} experts`)
  const [mine, theirs] = [names(first), names(second)]
  const at = mine.findIndex((name, i) => name !== theirs[i])
  if (at < 0 && mine.length === theirs.length) return
  throw new UsageError(
    at < 0
      ? `invalid records: they have ${mine.length} and ${theirs.length} routers (expected the same routers)`
      : `invalid records: router ${at + 1} is of ${mine[at]} in one and of ${theirs[at] ?? 'nothing'} in the other ` +
          '(expected the same routers)',
  )
}

function expectSameToken(first: RoutedToken, second: RoutedToken): void {
  if (first.token === second.token) return
  throw new UsageError(
    `invalid records: document ${first.document} has token ${first.token} at position ${first.position} in one and ` +
      `${second.token} in the other (expected records of the same text)`,
  )
}
