/** The name of a run or of a band, without the folder that all runs share. If it is too long, it loses its middle. */
import { nameParts } from './names.ts'
import { sharedFolder } from './table-state.ts'

/** @param whole Whether the name has no end that must stay visible, as the shared name of several runs. */
export function Name({ name, whole = false }: { readonly name: string; readonly whole?: boolean }) {
  const folder = sharedFolder.value
  const short = name.startsWith(folder) ? name.slice(folder.length) : name
  const [head, tail] = whole ? [short, ''] : nameParts(short)
  return (
    <span class="name">
      <span>{head}</span>
      {tail !== '' && <span>{tail}</span>}
    </span>
  )
}
