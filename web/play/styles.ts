/** Line styles of the two sides. */
import { assignStyles, type LineStyle } from '../src/palette.ts'
import type { SideName } from './live-run.ts'

const styles = assignStyles([
  { id: 'A', created: 0 },
  { id: 'B', created: 1 },
])

export const styleOfSide = (side: SideName): LineStyle => styles.get(side) as LineStyle
