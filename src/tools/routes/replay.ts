/**
 * The experts of a record in place of a model's own choices. Think of a playback: the text is computed again, and every
 * token goes where it went in the record, though the gates of these experts are those of the model. So the loss shows what
 * a model loses with the routes of another one: of its rounded weights, of an earlier checkpoint, of another program.
 * Reinforcement learning replays the routes of the program that wrote a text in the same way (Ma et al. 2025,
 * "Stabilizing MoE reinforcement learning by aligning training and inference routers", arXiv 2510.11370).
 *
 * Tokens are found by document and position. All experts of the record are in memory, four bytes each.
 */
import { formatValue } from '../../core/config/problems.ts'
import { option, RunError, UsageError, wording } from '../../core/errors.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import type { MoeConfig } from '../../core/model/moe-config.ts'
import { activatedExperts, routedModules } from '../../core/model/parameters.ts'
import type { RecordedRouter, RoutesHeader } from './format.ts'
import type { Place } from './places.ts'
import { readRoutes } from './read-routes.ts'

/** Routers that score experts, so that a given expert has a gate. */
const SCORING: readonly MoeConfig['router'][] = ['top-k', 'switch', 'prototype', 'sinkhorn', 'bias']

/** Positions of a document are below this. */
const POSITIONS = 2 ** 32

interface Recorded {
  readonly token: number
  /** The experts of all routers, one router after the other. */
  readonly experts: Int32Array
}

/** What is computed with the routes of a record. */
export interface Replayed {
  readonly model: ModelConfig
  /** Hash of the tokenizer, and of text, split and tokenizer. */
  readonly tokenizer: string
  readonly text: string
  readonly signal?: AbortSignal | undefined
}

type RouterSize = Pick<RecordedRouter, 'layer' | 'module' | 'experts' | 'prototypes' | 'choices'>

const routerKey = ({ layer, module, experts, prototypes, choices }: RouterSize): string =>
  `${layer} ${module} ${experts}/${prototypes}/${choices}`

/** The keys of the routers of a model, in the order of computation. */
function routerKeys(config: ModelConfig): string[] {
  const { moe } = config
  if (!moe) return []
  const { experts, prototypes } = moe
  const layers = Array.from({ length: config.layers }, (_, layer) => layer)
  return layers.flatMap((layer) =>
    routedModules(config, layer).map((module) =>
      routerKey({ layer, module, experts, prototypes, choices: activatedExperts(moe) }),
    ),
  )
}

export class ReplayedRoutes {
  readonly header: RoutesHeader
  private readonly folder: string
  /** By document · {@link POSITIONS} + position. */
  private readonly byPlace = new Map<number, Recorded>()
  /** Number of tokens that were found in the record. */
  private found = 0

  private constructor(folder: string, header: RoutesHeader) {
    this.folder = folder
    this.header = header
  }

  /**
   * Reads a record.
   * @throws UsageError if there is none, if text, tokenizer or routers are not those of the record, or if the router of the
   * model has no gates for the experts of another; RunError if the record is damaged
   */
  static async read(folder: string, { model, tokenizer, text, signal }: Replayed): Promise<ReplayedRoutes> {
    const { header, tokens } = await readRoutes(folder)
    const refuse = (what: string): never => {
      throw new UsageError(wording`invalid ${option('replay')}: ${what}`)
    }
    if (model.moe && !SCORING.includes(model.moe.router))
      refuse(`the router of the model is ${model.moe.router} (expected one that scores experts: ${SCORING.join(', ')})`)
    if (header.tokenizer.sha256 !== tokenizer) refuse(`${formatValue(folder)} is a record with another tokenizer`)
    if (header.text.hash !== text)
      refuse(`${formatValue(folder)} is a record of another text, ${formatValue(header.text.source)}`)
    if (header.routers.map(routerKey).join() !== routerKeys(model).join())
      refuse(`${formatValue(folder)} is a record of other routers (expected the same layers, experts and choices)`)
    const replayed = new ReplayedRoutes(folder, header)
    for await (const { document, position, token, routes } of tokens()) {
      signal?.throwIfAborted()
      const experts = Int32Array.from(routes.flatMap(({ experts }) => experts))
      replayed.byPlace.set(document * POSITIONS + position, { token, experts })
    }
    return replayed
  }

  /**
   * Writes the experts of a token to choices [T, K] of each router; tokens that the record does not have are left to the
   * routers. @param t Index of the token in the pass, which has `size` tokens.
   */
  fill(place: Place | null, token: number, given: readonly Int32Array[], t: number, size: number): void {
    const recorded = place && this.byPlace.get(place.document * POSITIONS + place.position)
    if (recorded && recorded.token !== token)
      throw new RunError(
        `the record ${this.folder} has token ${recorded.token} at position ${place.position} of document ${place.document}, and the text has token ${token}`,
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
  }

  /** @throws UsageError if no token of the text was in the record */
  expectFound(): void {
    if (this.found === 0)
      throw new UsageError(
        wording`invalid ${option('replay')}: the record ${formatValue(this.folder)} has none of the tokens that are computed`,
      )
  }
}
