/** The same model with other numbers of experts, each with the active parameters of the others but for the router. */

import { type ModelConfig, modelSchema } from '../../../core/model/config.ts'
import { activatedExperts } from '../../../core/model/parameters.ts'
import type { LawFile } from '../../law/law-file.ts'

/** Hidden width of the networks that a token passes in a layer. */
const activeHidden = ({ moe, hidden }: ModelConfig): number =>
  moe === null ? hidden : activatedExperts(moe) * moe.hidden + moe.sharedHidden

/**
 * The model with `experts`, of which a token uses one as large as the network of the dense model (1 expert). A dense
 * model gets the experts of the law's recipe; a sparse one keeps its own settings.
 * @returns null if the settings do not allow this number of experts
 */
export function withExperts(model: ModelConfig, experts: number, law: LawFile | null): ModelConfig | null {
  const hidden = activeHidden(model)
  const base = model.moe ?? recipeMoe(law)
  const moe =
    experts === 1 ? null : { ...base, experts, hidden, k: 1, prototypes: 1, sharedHidden: 0, sharedGate: false }
  const router = moe && base.router === 'prototype' ? { router: 'top-k' } : {}
  const parsed = modelSchema.safeParse({ ...model, hidden, moe: moe && { ...moe, ...router } })
  return parsed.success ? parsed.data : null
}

const MOE = 'model.moe.'

function recipeMoe(law: LawFile | null): Readonly<Record<string, unknown>> {
  const moe: Record<string, Record<string, unknown> | unknown> = {}
  for (const [path, value] of Object.entries(law?.recipe ?? {})) {
    const [field = '', inner] = path.startsWith(MOE) ? path.slice(MOE.length).split('.') : []
    if (field === '') continue
    moe[field] = inner === undefined ? value : { ...(moe[field] as object | undefined), [inner]: value }
  }
  return law === null ? { capacity: 'none' } : moe
}

/** Settings that a size brings with it, and that a law therefore spans. */
const ofSize =
  /^(?:vocabulary|layers|width|heads|keyValueHeads|headWidth|sequence|hidden|moe\.(?:experts|hidden|compute|selection|hashSeed))$/

/** Settings of a model that differ from the recipe of a law, as `field: value (the law: value)`. */
export function otherThanRecipe(model: ModelConfig, { recipe }: LawFile): string[] {
  return Object.entries(recipe).flatMap(([path, value]) => {
    const field = path.startsWith('model.') ? path.slice('model.'.length) : ''
    if (field === '' || ofSize.test(field)) return []
    const own = field
      .split('.')
      .reduce<unknown>((inner, key) => (inner as Record<string, unknown> | null)?.[key], model)
    return own === undefined || JSON.stringify(own) === JSON.stringify(value)
      ? []
      : [`${path}: ${JSON.stringify(own)} (the law: ${JSON.stringify(value)})`]
  })
}
