/** The choice of the arm that all cards compare the others with. */
import { useEffect, useRef } from 'preact/hooks'
import { plural } from '../../../../src/core/text/numbers.ts'
import { baseline } from '../../runs/baseline.ts'
import { onKeys } from '../../shell/shortcuts.tsx'
import type { Arm } from './arms.ts'
import { arms, comparison, shortArm } from './comparison.ts'

export function CompareWith() {
  const field = useRef<HTMLSelectElement>(null)
  useEffect(() => onKeys({ c: () => field.current?.focus() }), [])
  if (arms.value.length < 2) return null
  // Any run of the baseline may be in the address; the menu has the first one of each arm.
  const chosen = comparison.value ? idOf(comparison.value.baseline) : ''
  return (
    <label class="check compare" title="Curves become differences from this arm, over pairs of runs of the same seed">
      Compare with
      <select ref={field} value={chosen} onChange={(event) => (baseline.value = event.currentTarget.value)}>
        <option value="">nothing</option>
        {arms.value.map((arm) => (
          <option key={idOf(arm)} value={idOf(arm)}>
            {shortArm(arm)} ({plural(arm.runs.length, 'seed')})
          </option>
        ))}
      </select>
    </label>
  )
}

const idOf = ({ runs }: Arm): string => runs[0]?.id ?? ''
