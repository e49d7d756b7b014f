/** The name of a run or of a band, without the folder that all runs share. If it is too long, it loses its middle. */
import { nameParts } from './names.ts'
import { sharedFolder } from './table-state.ts'

export function Name({ name }: { readonly name: string }) {
  const folder = sharedFolder.value
  const [head, tail] = nameParts(name.startsWith(folder) ? name.slice(folder.length) : name)
  return (
    <span class="name">
      <span>{head}</span>
      <span>{tail}</span>
    </span>
  )
}
