/** Line styles of the two sides. */
import { computed } from '@preact/signals'
import { assignStyles, type LineStyle } from '../src/line-styles.ts'
import { scheme } from '../src/shell/theme.ts'
import type { SideName } from './live-run.ts'

const sides = [
  { id: 'A', created: 0 },
  { id: 'B', created: 1 },
]
const styles = computed(() => assignStyles(sides, scheme.value))

export const styleOfSide = (side: SideName): LineStyle => styles.value.get(side) as LineStyle
