/** What `choir watch --share` has written, for people and as JSON. */
import { bytes, grouped, plural } from '../../../core/text/numbers.ts'
import type { SharedPage } from '../../watch/share/share.ts'
import type { Colors } from '../io.ts'
import { labelled, type Row } from './display.ts'

export function sharedText({ file, bytes: size, run }: SharedPage, colors: Colors): string {
  const { steps, of } = run.index
  const thinned = steps.length < of ? ` of ${grouped(of)}` : ''
  const { sentence, moments, found } = run
  const rows: Row[] = [
    ['file', `${colors.bold(file)}, ${bytes(size)}, opens in any browser`],
    [
      'snapshots',
      `${grouped(steps.length)}${thinned}, steps ${grouped(steps[0] ?? 0)} to ${grouped(steps.at(-1) ?? 0)}`,
    ],
    [
      'text',
      'reason' in sentence
        ? `left out: ${sentence.reason}`
        : `${plural(sentence.tokens.length, 'token')} of held-out text, at steps ${sentence.traces.map(({ step }) => grouped(step)).join(', ')}`,
    ],
    ['moments', found > moments.length ? `${moments.length} of ${grouped(found)}` : String(found)],
  ]
  const lines = moments.map(({ step, text }) => `    step ${grouped(step).padEnd(8)}${text}\n`)
  return `${labelled(rows, colors)}${lines.join('')}`
}

export function sharedEvent({ file, bytes: size, run }: SharedPage) {
  const { name, state, step, index, moments, found, sentence } = run
  const failed = 'reason' in sentence ? [] : sentence.failed
  return {
    kind: 'share',
    file,
    bytes: size,
    name,
    state,
    step,
    snapshots: index.steps.length,
    snapshots_recorded: index.of,
    moments,
    moments_found: found,
    text_steps: 'reason' in sentence ? [] : sentence.traces.map(({ step }) => step),
    text_left_out: 'reason' in sentence ? sentence.reason : (failed[0]?.reason ?? null),
  }
}
