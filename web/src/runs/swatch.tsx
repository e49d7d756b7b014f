/** A sample of a run's line as drawn in plots. */
import type { LineStyle } from '../shared/line-styles.ts'
import { styleOf } from './styles.ts'

export function Swatch({ run, style = styleOf(run) }: { readonly run: string; readonly style?: LineStyle }) {
  return (
    <svg class="swatch" viewBox="0 0 20 8" width="20" height="8" aria-hidden="true">
      <line
        x1="0"
        x2="20"
        y1="4"
        y2="4"
        stroke={style.color}
        stroke-width="3"
        stroke-dasharray={style.dash.join(' ')}
      />
    </svg>
  )
}
