/**
 * The configuration of a layer of the user's own in place of feed-forward networks. It is pure data: nothing here knows
 * how the layer is computed.
 */
import { z } from 'zod'
import { PLUGIN_ID } from '../../plugins.ts'
import { settingsSchema } from './plugin-settings.ts'

export const layerSchema = z.strictObject({
  /** The path of the file of a layer, which is stored as `own`. */
  kind: z.enum(['own']).meta({ file: './my-layer.ts' }).default('own'),
  /** Name and hash of the layer, as `my-layer@0123456789abcdef`. It is set when `kind` is the path of a file. */
  own: z.string().regex(PLUGIN_ID).nullable().default(null),
  /** One layer in every `every` layers has it, the last of them; the others have feed-forward networks. */
  every: z.int().positive().default(1),
  /** Number of layers before the first period of `every`, all with feed-forward networks. */
  from: z.int().nonnegative().default(0),
  /** Settings of the layer, by name; it has defaults. */
  settings: settingsSchema.default({}),
})

export type LayerConfig = z.output<typeof layerSchema>

/** Which layers of a model have something else than a dense feed-forward network. */
export interface Places {
  readonly every: number
  readonly from: number
}

/** Whether layer `index` (from 0) is the last of a period of `every` layers, where the first period begins at `from`. */
export const isPlaced = ({ every, from }: Places, index: number): boolean =>
  index >= from && (index - from + 1) % every === 0

/** Refuses a field, by its path in the section, with a reason. */
type Refuse = (field: string[], message: string) => void

/** Refuses places of which a model of so many layers has none. @param noun a layer of this kind, such as `sparse` */
export function checkPlaces({ every, from }: Places, layers: number, noun: string, refuse: Refuse): void {
  if (every > layers) refuse(['every'], `must be at most layers ${layers}`)
  else if (from + every > layers)
    refuse(['from'], `must be at most layers − every = ${layers - every}, or no layer is ${noun}`)
}

/** Refuses combinations of settings that have no meaning. */
export function checkLayer(
  { layers, moe, layer }: { readonly layers: number; readonly moe: Places | null; readonly layer: LayerConfig },
  refuse: Refuse,
): void {
  if (layer.own === null) refuse(['kind'], 'must be the path of the file of your layer, such as ./my-layer.ts')
  checkPlaces(layer, layers, 'your own', refuse)
  const both = Array.from({ length: layers }, (_, i) => i).find(
    (i) => moe !== null && isPlaced(moe, i) && isPlaced(layer, i),
  )
  if (both !== undefined)
    refuse(
      ['every'],
      `must leave out sparse layers, but layer ${both} is one (set model.moe=null, or every and from of both, so that no layer has both)`,
    )
}
