/** Variants of a model with other numbers of experts. They differ in active parameters only by their routers. */

import { activatedExperts } from '../../../core/model/config/moe-config.ts'
import { type ModelConfig, modelSchema } from '../../../core/model/config.ts'
import { plural } from '../../../core/text/numbers.ts'
import type { LawFile } from '../../law/law-file.ts'

/** Total hidden width of the networks that a token passes in a layer. */
const activeHidden = ({ moe, hidden }: ModelConfig): number =>
  moe === null ? hidden : activatedExperts(moe) * moe.hidden + moe.sharedHidden

/**
 * The reason why a law of top-1 has no answer for a model, in words, with the settings of a model for which it has one.
 * Null if a token uses one expert and no shared expert, or if the model is dense: all laws, also the published one, are
 * fitted to such runs only (`map-arms.ts` of studies).
 */
export function beyondTopOne(model: ModelConfig): string | null {
  const { moe } = model
  if (moe === null) return null
  const used = activatedExperts(moe)
  if (used === 1 && moe.sharedHidden === 0) return null
  const experts = `${plural(used, 'expert')}${moe.sharedHidden > 0 ? ' and a shared one' : ''}`
  return (
    `a token of this model uses ${experts}, and the law is of top-1: a token of its runs used one expert, as large as the ` +
    `network of the dense model (top-1 with as many active parameters has model.moe.router=top-k, k=1, prototypes=1, ` +
    `sharedHidden=0, sharedGate=false, hidden=${activeHidden(model)})`
  )
}

/**
 * The model with another number of experts, of which a token uses as many as before. With 1 it is the dense model,
 * whose network is as wide as all networks that a token passes. A dense model gets the experts of the law's recipe; a
 * sparse model keeps its own settings.
 * @returns null if the settings do not allow this number of experts
 */
export function withExperts(model: ModelConfig, experts: number, law: LawFile): ModelConfig | null {
  const hidden = activeHidden(model)
  const sparse = model.moe ?? { ...recipeMoe(law), hidden, k: 1, prototypes: 1, sharedHidden: 0, sharedGate: false }
  const parsed = modelSchema.safeParse({ ...model, hidden, moe: experts === 1 ? null : { ...sparse, experts } })
  return parsed.success ? parsed.data : null
}

const MOE = 'model.moe.'

function recipeMoe(law: LawFile): Readonly<Record<string, unknown>> {
  const moe: Record<string, Record<string, unknown> | unknown> = {}
  for (const [path, value] of Object.entries(law.recipe)) {
    const [field = '', inner] = path.startsWith(MOE) ? path.slice(MOE.length).split('.') : []
    if (field === '') continue
    moe[field] = inner === undefined ? value : { ...(moe[field] as object | undefined), [inner]: value }
  }
  return moe
}

/** Settings that differ between the sizes of a model, and that a law therefore spans. */
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
