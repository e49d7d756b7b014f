/** Whether the weights of one model fit another: the same tensors in the same shapes. */
import { differences, formatDifferent } from '../../core/config/differences.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import { parameterSpecs } from '../../core/model/parameters.ts'

const MAX_LINES = 12

/** Whether the tensors of two models have the same names and shapes. */
export const hasSameTensors = (one: ModelConfig, other: ModelConfig): boolean => otherShapes(one, other).length === 0

/** @throws UsageError naming the tensors whose shapes differ, and the settings of the model that differ */
export function refuseOtherShapes(
  run: string,
  of: ModelConfig,
  model: ModelConfig,
  as: 'from' | 'fork' = 'from',
): void {
  const lines = otherShapes(of, model).map(({ name, from, to }) => {
    const here = to === undefined ? 'this model has no such tensor' : `${to} here`
    return `${name}: ${from === undefined ? 'no such tensor' : from} in ${run}, ${here}`
  })
  if (lines.length === 0) return
  const shown =
    lines.length > MAX_LINES ? [...lines.slice(0, MAX_LINES), `and ${lines.length - MAX_LINES} more`] : lines
  const settings = differences(of, model, 'model').map(
    ({ field, from, to }) => `${field}=${formatDifferent(to)} (${formatDifferent(from)} in ${run})`,
  )
  throw new UsageError(
    wording`invalid ${option(as)}: the weights of ${run} do not fit this model (leave out settings that change shapes, or train ${wording`without ${option(as)}); it differs in ${settings.join(', ')}\n  ${shown.join('\n  ')}`}`,
  )
}

interface OtherShape {
  /** Name of the tensor, which begins with `layers.*` for several layers. */
  readonly name: string
  readonly from: string | undefined
  readonly to: string | undefined
}

/** Tensors whose shapes differ. Tensors of several layers that differ in the same way are one entry. */
function otherShapes(of: ModelConfig, model: ModelConfig): OtherShape[] {
  const shapes = (config: ModelConfig) =>
    new Map(parameterSpecs(config).map(({ name, shape }) => [name.replace('{e}', '*'), `[${shape.join(', ')}]`]))
  const [before, after] = [shapes(of), shapes(model)]
  const found = new Map<string, OtherShape & { readonly names: string[] }>()
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const [from, to] = [before.get(name), after.get(name)]
    if (from === to) continue
    const key = `${name.replace(/^layers\.\d+/, 'layers.*')} ${from} ${to}`
    const known = found.get(key)
    if (known) known.names.push(name)
    else found.set(key, { name, from, to, names: [name] })
  }
  return [...found.values()].map(({ names, name, from, to }) => {
    return { name: names.length > 1 ? name.replace(/^layers\.\d+/, 'layers.*') : name, from, to }
  })
}
