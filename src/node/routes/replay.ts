/**
 * The experts of a record in place of a model's own choices. Think of a playback: the text is computed again, and every
 * token goes where it went in the record, though the gates of these experts are those of the model. So the loss shows what
 * a model loses with the routes of another one: of its rounded weights, of an earlier checkpoint, of another program.
 * Reinforcement learning replays the routes of the program that wrote a text in the same way (Ma et al. 2025,
 * "Stabilizing MoE reinforcement learning by aligning training and inference routers", arXiv 2510.11370).
 *
 * Tokens are found by document and position. All experts of the record are in memory, four bytes each. A record may be
 * of another program: a file of a server's answers (responses.ts), with experts but without gates.
 */
import { stat } from 'node:fs/promises'
import { formatValue } from '../../core/config/problems.ts'
import { option, RunError, UsageError, wording } from '../../core/errors.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import type { MoeConfig } from '../../core/model/moe-config.ts'
import { activatedExperts, routedModules } from '../../core/model/parameters.ts'
import type { RoutesHeader } from './format.ts'
import type { Place } from './places.ts'
import { readRoutes } from './read-routes.ts'
import { type AnsweredToken, type RouterSize, readResponses } from './responses.ts'

/** Routers that score experts, so that a given expert has a gate. */
const SCORING: readonly MoeConfig['router'][] = ['top-k', 'switch', 'prototype', 'sinkhorn', 'bias']

/** Positions of a document are below this. */
const POSITIONS = 2 ** 32

type Recorded = Pick<AnsweredToken, 'token' | 'experts'>

/** A server may put a token before the text that it is given. */
const ADDED = ' (expected the tokens of each document in turn; with a token added before them, write "position": -1)'

/** What is computed with the routes of a record. */
export interface Replayed {
  readonly model: ModelConfig
  /** Hash of the tokenizer, and of text, split and tokenizer. */
  readonly tokenizer: string
  readonly text: string
  readonly signal?: AbortSignal | undefined
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
  private readonly path: string
  /** By document · {@link POSITIONS} + position. */
  private readonly byPlace = new Map<number, Recorded>()
  /** Number of tokens that were found in the record. */
  private found = 0

  private constructor(path: string, source: Source) {
    this.path = path
    this.source = source
  }

  /**
   * Reads a record.
   * @param path Folder of a record, or file of a server's answers.
   * @throws UsageError if there is none, if text, tokenizer or routers are not those of the record, or if the router of the
   * model has no gates for the experts of another; RunError if the record is damaged
   */
  static async read(path: string, { model, tokenizer, text, signal }: Replayed): Promise<ReplayedRoutes> {
    const refuse = (what: string): never => {
      throw new UsageError(wording`invalid ${option('replay')}: ${what}`)
    }
    if (model.moe && !SCORING.includes(model.moe.router))
      refuse(`the router of the model is ${model.moe.router} (expected one that scores experts: ${SCORING.join(', ')})`)
    const routers = routersOf(model)
    const isFile = await stat(path).then(
      (found) => found.isFile(),
      () => false,
    )
    if (isFile) {
      if (routers.some(({ module }) => module !== 'ffn'))
        refuse('the model has experts in attention, which answers of a server do not have (expected a record)')
      const replayed = new ReplayedRoutes(path, { imported: path })
      for await (const token of readResponses(path, { routers, layers: model.layers })) {
        signal?.throwIfAborted()
        replayed.add(token)
      }
      return replayed
    }
    const { header, tokens } = await readRoutes(path)
    if (header.tokenizer.sha256 !== tokenizer) refuse(`${formatValue(path)} is a record with another tokenizer`)
    if (header.text.hash !== text)
      refuse(`${formatValue(path)} is a record of another text, ${formatValue(header.text.source)}`)
    if (header.routers.map(routerKey).join() !== routers.map(routerKey).join())
      refuse(`${formatValue(path)} is a record of other routers (expected the same layers, experts and choices)`)
    const replayed = new ReplayedRoutes(path, { replayed: header.model })
    for await (const { document, position, token, routes } of tokens()) {
      signal?.throwIfAborted()
      const experts = Int32Array.from(routes.flatMap(({ experts }) => experts))
      replayed.add({ document, position, token, experts })
    }
    return replayed
  }

  private add({ document, position, token, experts }: AnsweredToken): void {
    // A token before the document, such as the beginning of the text, is not in the text.
    if (position < 0) return
    const place = document * POSITIONS + position
    if (this.byPlace.has(place))
      throw new RunError(`${this.path} has position ${position} of document ${document} twice`)
    this.byPlace.set(place, { token, experts })
  }

  /**
   * Writes the experts of a token to choices [T, K] of each router; tokens that the record does not have are left to the
   * routers. @param t Index of the token in the pass, which has `size` tokens.
   * @returns Whether the record has the token.
   */
  fill(place: Place | null, token: number, given: readonly Int32Array[], t: number, size: number): boolean {
    const recorded = place && this.byPlace.get(place.document * POSITIONS + place.position)
    if (recorded && recorded.token !== token)
      throw new RunError(
        `${this.path} has token ${recorded.token} at position ${place.position} of document ${place.document}, and the ` +
          `text has token ${token}${this.source.imported === undefined ? '' : ADDED}`,
      )
    if (recorded) this.found++
    let from = 0
    for (const array of given) {
      const choices = array.length / size
      const own = array.subarray(t * choices, (t + 1) * choices)
      if (recorded) own.set(recorded.experts.subarray(from, from + choices))
      else own.fill(-1)
      from += choices
    }
    return recorded != null
  }

  /** @throws UsageError if no token of the text was in the record */
  expectFound(): void {
    if (this.found === 0)
      throw new UsageError(
        wording`invalid ${option('replay')}: ${formatValue(this.path)} has none of the tokens that are computed`,
      )
  }
}
