/**
 * Heat maps of who gets the work: the load of an expert over an even share, so 1 is as even routing
 * would have it, whatever the number of experts. One seed is shown, the first that finished: experts
 * have no order, so a mean over seeds would only wash them out.
 */
import type { HeatFigure } from '../../report/index.ts'
import type { FinishedRun, LayerHistory } from '../contract.ts'
import { mean } from '../statistics.ts'
import type { Runs } from './runs.ts'
import { slug } from './tables.ts'

const VALUE = 'load over an even share'

/** Layer by expert, mean over the last quarter of the snapshots. */
export function loadAtEnd(runs: Runs, id: string, arms: readonly string[]): HeatFigure | null {
  const panels = arms.flatMap((arm) => {
    const run = shown(runs, arm)
    if (run === null) return []
    const widest = Math.max(...run.layers.map(expertsOf))
    return [
      {
        title: `${arm} (seed ${run.seed})`,
        columns: numbered(widest),
        rows: run.layers.map(layerName),
        values: run.layers.map((layer) => {
          const end = relative(layer).slice(-Math.ceil(layer.load.length / 4))
          return Array.from({ length: widest }, (_, expert) => mean(end.flatMap((load) => load[expert] ?? [])))
        }),
      },
    ]
  })
  if (panels.length === 0) return null
  return {
    kind: 'figure',
    id: slug(`${id}-load-end`),
    caption:
      'Load of each expert by layer at the end of training (last quarter), before drops, as a multiple of an even share.',
    form: 'heat',
    xLabel: 'expert',
    yLabel: 'layer',
    valueLabel: VALUE,
    middle: 1,
    panels,
  }
}

/** Expert by time, in the layer that is the most uneven at the end in the last of the arms. */
export function loadOverTime(runs: Runs, id: string, arms: readonly string[]): HeatFigure | null {
  const last = arms.map((arm) => shown(runs, arm)).findLast((run) => run !== null)
  const layers = last?.layers.toSorted((a, b) => (b.loadCv.at(-1) ?? 0) - (a.loadCv.at(-1) ?? 0))
  const chosen = layers?.[0]
  if (chosen === undefined) return null
  const panels = arms.flatMap((arm) => {
    const run = shown(runs, arm)
    const layer = run?.layers.find((other) => other.layer === chosen.layer && other.module === chosen.module)
    if (!run || layer === undefined) return []
    const loads = relative(layer)
    return [
      {
        title: `${arm} (seed ${run.seed})`,
        columns: layer.step.map(String),
        rows: numbered(expertsOf(layer)),
        values: Array.from({ length: expertsOf(layer) }, (_, expert) =>
          layer.step.map((_, i) => loads[i]?.[expert] ?? null),
        ),
      },
    ]
  })
  return {
    kind: 'figure',
    id: slug(`${id}-load-time`),
    caption: `Load of each expert of layer ${layerName(chosen)} over training, before drops, as a multiple of an even share.`,
    form: 'heat',
    xLabel: 'step',
    yLabel: 'expert',
    valueLabel: VALUE,
    middle: 1,
    panels,
  }
}

const shown = (runs: Runs, arm: string): FinishedRun | null =>
  runs.finished(arm).find((run) => run.layers.some((layer) => expertsOf(layer) > 0)) ?? null

const expertsOf = (layer: LayerHistory): number => layer.load.at(-1)?.length ?? 0

const layerName = ({ layer, module }: LayerHistory): string => (module === 'ffn' ? `${layer}` : `${layer} ${module}`)

const numbered = (n: number): string[] => Array.from({ length: n }, (_, i) => String(i))

/** Loads as multiples of an even share. */
const relative = (layer: LayerHistory): (number | null)[][] =>
  layer.load.map((load) => load.map((share) => (Number.isFinite(share) ? share * load.length : null)))
