/** Moments of the losses: milestones of the held-out loss, and jumps of the training loss. */
import { median } from '../../../../core/averages.ts'
import { fixed, grouped, percent } from '../../../../core/text/numbers.ts'
import { JUMP, LASTS, MILESTONES, MIN_FALL, MIN_RISE } from './rules.ts'
import type { LossSeries, Sized } from './series.ts'

const none = { kind: 'loss', router: null, experts: [] } as const

export function heldOutMoments({ step, value }: LossSeries): Sized[] {
  const points = Array.from(step, (at, i) => ({ at, loss: value[i] ?? Number.NaN })).filter(({ loss }) =>
    Number.isFinite(loss),
  )
  const [first, last] = [points[0], points.at(-1)]
  if (!first || !last || points.length <= LASTS) return []
  const lowest = points.reduce((low, point) => (point.loss < low.loss ? point : low))
  const fall = first.loss - lowest.loss
  const nats = (loss: number) => fixed(loss, 3)
  const found: Sized[] = []
  if (fall >= MIN_FALL)
    for (const part of MILESTONES) {
      const goal = first.loss - part * fall
      const reached = points.findIndex(
        (_, i) => i > 0 && i + LASTS <= points.length && points.slice(i, i + LASTS).every(({ loss }) => loss <= goal),
      )
      const point = points[reached]
      if (point)
        found.push({
          ...none,
          step: point.at,
          text: `Held-out loss has fallen ${part === 0.5 ? 'half' : percent(part, 0)} of its way`,
          detail: `${nats(point.loss)} nats a token, on the way from ${nats(first.loss)} to ${nats(lowest.loss)}`,
          size: 2 - part,
        })
    }
  const rise = Math.max(MIN_RISE, 0.05 * fall)
  if (points.slice(-LASTS).every(({ loss }) => loss >= lowest.loss + rise))
    found.push({
      ...none,
      step: lowest.at,
      text: 'Held-out loss is at its lowest, and rises from here',
      detail: `${nats(lowest.loss)} nats a token; ${nats(last.loss)} at step ${grouped(last.at)}`,
      size: 3,
    })
  return found
}

export function trainingMoments({ step, value }: LossSeries): Sized[] {
  const finite: number[] = []
  let worst: Sized | undefined
  for (let i = 0; i + LASTS <= value.length; i++) {
    const here = Array.from({ length: LASTS }, (_, j) => value[i + j] ?? Number.NaN)
    const [loss = Number.NaN] = here
    const at = step[i] ?? 0
    if (here.every((each) => !Number.isFinite(each)))
      return [
        { ...none, step: at, text: 'The training loss is not finite', detail: `from step ${grouped(at)} on`, size: 5 },
      ]
    const before = finite.slice(-JUMP.records)
    if (before.length >= JUMP.records) {
      const usual = median(before)
      const deviation = median(before.map((each) => Math.abs(each - usual)))
      const jump = Math.min(...here) - usual
      if (jump >= Math.max(JUMP.nats, JUMP.deviations * deviation) && jump > (worst?.size ?? 0))
        worst = {
          ...none,
          step: at,
          text: `The training loss jumps to ${fixed(loss, 2)}`,
          detail: `nats a token; the median of the ${JUMP.records} records before is ${fixed(usual, 2)}`,
          size: jump,
        }
    }
    if (Number.isFinite(loss)) finite.push(loss)
  }
  return worst ? [{ ...worst, size: 4 }] : []
}
