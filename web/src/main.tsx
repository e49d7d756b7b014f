/** Entry point of the page. */
import { render } from 'preact'
import { App } from './app.tsx'
import { follow } from './shared/store.ts'
import { followAddress } from './shared/view-state.ts'
import { closeMenus } from './shell/menus.ts'

followAddress()
follow()
closeMenus()
const root = document.getElementById('page')
if (root) {
  root.replaceChildren()
  render(<App />, root)
}
