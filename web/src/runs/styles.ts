/** Style of a run's lines and swatch, the same everywhere. */
import { computed } from '@preact/signals'
import { assignStyles, type LineStyle } from '../shared/line-styles.ts'
import { runs } from '../shared/store.ts'
import { scheme } from '../shell/theme.ts'
import { experiment, seedsGrouped } from './table-state.ts'

/** With grouped seeds, the runs of an experiment have the style of the first of them. */
const styles = computed(() => {
  if (!seedsGrouped.value) return assignStyles(runs.value, scheme.value)
  const firsts = new Map<string, (typeof runs.value)[number]>()
  const keyOf = (run: (typeof runs.value)[number]) => experiment(run) ?? run.id
  for (const run of runs.value) if (!firsts.has(keyOf(run))) firsts.set(keyOf(run), run)
  const ofFirsts = assignStyles([...firsts.values()], scheme.value)
  return new Map(
    runs.value.flatMap((run) => {
      const style = ofFirsts.get(firsts.get(keyOf(run))?.id ?? run.id)
      return style ? [[run.id, style] as const] : []
    }),
  )
})

export const styleOf = (run: string): LineStyle => styles.value.get(run) ?? { color: '#888888', dash: [] }
