/** Moments in which a layer drops much more of its assignments than usual. */
import { median } from '../../../../core/averages.ts'
import { grouped, percent } from '../../../../core/text/numbers.ts'
import { episodesOf } from './episodes.ts'

import { DROPS } from './rules.ts'
import type { RouterSeries, Sized } from './series.ts'

/** The largest moment of this kind in a router; empty if there is none. */
export function dropMoments({ router, place, steps, dropRate }: RouterSeries): Sized[] {
  const known = dropRate.filter((rate) => rate !== null)
  const usual = median(known)
  const limit = Math.max(DROPS.least, DROPS.overMedian * usual)
  const rate = (t: number) => dropRate[t] ?? 0
  const found = episodesOf(steps.length, (t) => rate(t) >= limit).map(({ from, to }): Sized => {
    let peak = from
    for (let t = from; t < to; t++) if (rate(t) > rate(peak)) peak = t
    const end = to < steps.length ? `until step ${grouped(steps[to] ?? 0)}` : 'until the end'
    return {
      kind: 'drops',
      step: steps[from] ?? 0,
      router,
      experts: [],
      text: `${place[0]?.toUpperCase()}${place.slice(1)} drops ${percent(rate(peak), 0)} of its choices`,
      detail: `at step ${grouped(steps[peak] ?? 0)}; its median is ${percent(usual, 0)}; high ${end}`,
      size: rate(peak) - usual,
    }
  })
  return found.sort((a, b) => b.size - a.size).slice(0, 1)
}
