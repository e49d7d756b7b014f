/** Notes at the edges of a plot that values lie beyond them. A press on a note shows these values in all plots. */
import { formatValue } from '../format-value.ts'
import type { Outside } from './drawing/outliers.ts'
import { withOutliers } from './settings.ts'

export function OutsideNotes({ outside: { above, below } }: { readonly outside: Outside }) {
  return (
    <>
      {above !== null && <Note edge="above" sign="▲" text={`up to ${formatValue(above)}`} />}
      {below !== null && <Note edge="below" sign="▼" text={`down to ${formatValue(below)}`} />}
    </>
  )
}

interface NoteProps {
  readonly edge: 'above' | 'below'
  readonly sign: string
  readonly text: string
}

function Note({ edge, sign, text }: NoteProps) {
  return (
    <button
      type="button"
      class={`outside outside-${edge}`}
      title={`Values ${edge} the axis are outliers, ${text}. Press to show all values.`}
      onClick={() => (withOutliers.value = true)}
    >
      <span aria-hidden="true">{sign}</span> {text}
      <span class="hidden"> {edge} the axis: show all values</span>
    </button>
  )
}
