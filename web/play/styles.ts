/** Line styles of the two sides. */
import { computed } from '@preact/signals'
import { dashes } from '../../src/core/charts/palette.ts'
import { assignStyles, type LineStyle } from '../src/shared/line-styles.ts'
import { scheme } from '../src/shell/theme.ts'
import type { SideName } from './live-run.ts'

const DASH = dashes[1] ?? []

const sides = [
  { id: 'A', created: 0 },
  { id: 'B', created: 1 },
]
const styles = computed(() => assignStyles(sides, scheme.value))

/** B is dashed, so that colour is not the only difference. */
export const styleOfSide = (side: SideName): LineStyle => {
  const style = styles.value.get(side) as LineStyle
  return side === 'B' ? { ...style, dash: DASH } : style
}
