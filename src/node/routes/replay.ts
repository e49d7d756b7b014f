/**
 * The experts of a record in place of a model's own choices. Think of a playback: the text is computed again, and every
 * token goes where it went in the record, though the gates of these experts are those of the model. So the loss shows what
 * a model loses with the routes of another one: of its rounded weights, of an earlier checkpoint, of another program.
 * Reinforcement learning replays the routes of the program that wrote a text in the same way (Ma et al. 2025,
 * "Stabilizing MoE reinforcement learning by aligning training and inference routers", arXiv 2510.11370).
 *
 * Tokens are found by document and position. All experts of the record are in memory, four bytes each, and about sixteen
 * bytes for each token. A record may be of another program: a file of a server's answers (responses.ts), with experts but
 * without gates.
 */
import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { formatValue } from '../../core/config/problems.ts'
import { type Option, RunError, UsageError, wording } from '../../core/errors.ts'
import { activatedExperts, SCORING_ROUTERS } from '../../core/model/config/moe-config.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import { routedModules } from '../../core/model/parameters.ts'
import type { RoutesHeader } from './format.ts'
import type { Place } from './places.ts'
import { readRoutes } from './read-routes.ts'
import { type AnsweredToken, type RouterSize, readResponses } from './responses.ts'

/** A server may put a token before the text that it is given. */
const ADDED = ' (expected the tokens of each document in turn; with a token added before them, write "position": -1)'

/** What is computed with the routes of a record. */
export interface Replayed {
  readonly model: ModelConfig
  /** Hash of the tokenizer, and of text, split and tokenizer. */
  readonly tokenizer: string
  readonly text: string
  readonly signal?: AbortSignal | undefined
  /** The field that names the record, and which record is expected, for messages. */
  readonly field: Option | string
  readonly expected: string
}

const routerKey = ({ layer, module, experts, prototypes, choices }: RouterSize): string =>
  `${layer} ${module} ${experts}/${prototypes}/${choices}`

/** The routers of a model, in the order of computation. */
function routersOf(config: ModelConfig): RouterSize[] {
  const { moe } = config
  if (!moe) return []
  const { experts, prototypes } = moe
  const layers = Array.from({ length: config.layers }, (_, layer) => layer)
  return layers.flatMap((layer) =>
    routedModules(config, layer).map((module) => ({
      layer,
      module,
      experts,
      prototypes,
      choices: activatedExperts(moe),
    })),
  )
}

/** Which record the experts are from, for the description of the new one. */
type Source = Pick<RoutesHeader, 'replayed' | 'imported'>

export class ReplayedRoutes {
  readonly source: Source
  /** Number of choices of a token, of each router. */
  readonly choices: readonly number[]
  private readonly path: string
  private readonly field: Option | string
  /** The index of each recorded token, by document and position. */
  private readonly byDocument = new Map<number, number[]>()
  private readonly tokens = new Numbers()
  /** Experts of all tokens, in the order of their indices. */
  private readonly experts = new Numbers()
  private readonly contents = createHash('sha256')
  /** Number of tokens that were found in the record. */
  private found = 0

  private constructor(path: string, source: Source, routers: readonly RouterSize[], field: Option | string) {
    this.path = path
    this.source = source
    this.choices = routers.map(({ choices }) => choices as number)
    this.field = field
  }

  /**
   * Reads a record.
   * @param path Folder of a record, or file of a server's answers.
   * @throws UsageError if there is none, if text, tokenizer or routers are not those of the record, or if the router of the
   * model has no gates for the experts of another; RunError if the record is damaged
   */
  static async read(path: string, replayed: Replayed): Promise<ReplayedRoutes> {
    const { model, tokenizer, text, signal, field, expected } = replayed
    const refuse = (what: string): never => {
      throw new UsageError(wording`invalid ${field}: ${what}`)
    }
    if (model.moe && !SCORING_ROUTERS.includes(model.moe.router))
      refuse(
        `the router of the model is ${model.moe.router} (expected one that scores experts: ${SCORING_ROUTERS.join(', ')})`,
      )
    const routers = routersOf(model)
    const isFile = await stat(path).then(
      (found) => found.isFile(),
      () => false,
    )
    if (isFile) {
      if (routers.some(({ module }) => module !== 'ffn'))
        refuse('the model has experts in attention, which answers of a server do not have (expected a record)')
      const routes = new ReplayedRoutes(path, { imported: path }, routers, field)
      for await (const token of readResponses(path, { routers, layers: model.layers })) {
        signal?.throwIfAborted()
        routes.add(token)
      }
      return routes
    }
    const { header, tokens } = await readRoutes(path)
    if (header.tokenizer.sha256 !== tokenizer)
      refuse(`${formatValue(path)} is a record with another tokenizer (expected ${expected})`)
    if (header.text.hash !== text)
      refuse(
        `${formatValue(path)} is a record of another text, or of other documents of it, ${formatValue(header.text.source)} (expected ${expected})`,
      )
    if (header.routers.map(routerKey).join() !== routers.map(routerKey).join())
      refuse(`${formatValue(path)} is a record of other routers (expected the same layers, experts and choices)`)
    const routes = new ReplayedRoutes(path, { replayed: header.model }, routers, field)
    for await (const { document, position, token, routes: of } of tokens()) {
      signal?.throwIfAborted()
      routes.add({ document, position, token, experts: Int32Array.from(of.flatMap(({ experts }) => experts)) })
    }
    return routes
  }

  private add({ document, position, token, experts }: AnsweredToken): void {
    // A token before the document, such as the beginning of the text, is not in the text.
    if (position < 0) return
    const indices = this.byDocument.get(document) ?? []
    if (indices[position] !== undefined)
      throw new RunError(`${this.path} has position ${position} of document ${document} twice`)
    indices[position] = this.tokens.length
    this.byDocument.set(document, indices)
    this.tokens.push([token])
    this.experts.push(experts)
    this.contents.update(Int32Array.of(document, position, token, ...experts))
  }

  /** Hash of all places, tokens and experts, in the order of the record. */
  hash(): string {
    return this.contents.copy().digest('hex')
  }

  /**
   * Whether the record has a token.
   * @throws UsageError or RunError if it has another token at this place
   */
  has(place: Place | null, token: number): boolean {
    return this.indexOf(place, token) !== undefined
  }

  private indexOf(place: Place | null, token: number): number | undefined {
    const index = place === null ? undefined : this.byDocument.get(place.document)?.[place.position]
    if (place === null || index === undefined) return undefined
    const recorded = this.tokens.at(index)
    if (recorded === token) return index
    const differs =
      `${this.path} has token ${recorded} at position ${place.position} of document ${place.document}, and the text has ` +
      `token ${token}`
    // The text of a record is known by its hash, so only a damaged record differs.
    if (this.source.imported === undefined) throw new RunError(differs)
    throw new UsageError(wording`invalid ${this.field}: ${differs}${ADDED}`)
  }

  /**
   * Writes the experts of a token to choices [T, K] of each router; tokens that the record does not have are left to the
   * routers. @param t Index of the token in the pass.
   * @returns Whether the record has the token.
   */
  fill(place: Place | null, token: number, given: readonly Int32Array[], t: number): boolean {
    const index = this.indexOf(place, token)
    const all = this.experts.length / this.tokens.length
    if (index !== undefined) this.found++
    let from = (index ?? 0) * all
    for (const [r, array] of given.entries()) {
      const choices = this.choices[r] as number
      const own = array.subarray(t * choices, (t + 1) * choices)
      if (index === undefined) own.fill(-1)
      else this.experts.copy(from, own)
      from += choices
    }
    return index !== undefined
  }

  /** @throws UsageError if no token of the text was in the record. @param found Default: the tokens that were filled. */
  expectFound(found = this.found): void {
    if (found === 0)
      throw new UsageError(
        wording`invalid ${this.field}: ${formatValue(this.path)} has none of the tokens that are computed`,
      )
  }
}

/** A growing array of int32 numbers. */
class Numbers {
  length = 0
  private values = new Int32Array(1 << 10)

  push(more: ArrayLike<number>): void {
    const length = this.length + more.length
    if (length > this.values.length) {
      const larger = new Int32Array(2 * length)
      larger.set(this.values)
      this.values = larger
    }
    this.values.set(more, this.length)
    this.length = length
  }

  at(index: number): number {
    return this.values[index] as number
  }

  /** Fills `into` with the numbers from `from` on. */
  copy(from: number, into: Int32Array): void {
    into.set(this.values.subarray(from, from + into.length))
  }
}
