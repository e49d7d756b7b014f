/**
 * Explains the values that a training shows, and which values are good, to users who see them for the first time. The
 * text is at most 60 columns wide.
 */
import { differences } from '../../../core/config/differences.ts'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { fixed } from '../../../core/text/numbers.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import type { Colors } from '../io.ts'
import { labelled, type StartEvent } from './display.ts'

/**
 * Bits per byte of a dense model that computes as much per token as the demo, after the same number of steps. Measured
 * in one run: `choir train demo --set model.moe=null --set model.hidden=512`.
 */
const DENSE_DEMO = 1.439

export function legendText(config: RunConfig, { gzipBitsPerByte }: StartEvent, dense: boolean, colors: Colors): string {
  const rows: [string, string][] = [
    ['held-out loss', 'nats a token, on text not trained on'],
    ['bits per byte', 'the same per byte of text; lower is better'],
  ]
  if (gzipBitsPerByte !== undefined) rows.push(['', `gzip -9 needs ${fixed(gzipBitsPerByte, 3)} for this text`])
  if (dense) rows.push(['', `a dense model of this cost needs ${fixed(DENSE_DEMO, 3)}`])
  rows.push(['MFU', 'share of the matmul rate; good above 50 %'])
  if (config.model.moe)
    rows.push(
      ['drop', 'choices that full experts refuse; best 0 %'],
      ['c_v', 'imbalance of expert loads; 0 even, 1 poor'],
      ['gate', "scale of the experts' output: sum of the gates"],
      ['entropy', 'of routers; near 1 they prefer no expert'],
    )
  return `${labelled(rows, colors)}\n`
}

/** Whether a training is the unchanged demo, so that it can be compared with {@link DENSE_DEMO}. */
export async function isDemo({ model, data, train }: RunConfig): Promise<boolean> {
  const demo = await loadConfig('demo', [])
  return differences({ model: demo.model, data: demo.data, train: demo.train }, { model, data, train }).length === 0
}
