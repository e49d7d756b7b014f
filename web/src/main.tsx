/** Entry point of the page. */
import { render } from 'preact'
import { App } from './app.tsx'
import { closeMenus } from './shell/menus.ts'
import { follow } from './store.ts'
import { followAddress } from './view-state.ts'

followAddress()
follow()
closeMenus()
const root = document.getElementById('page')
if (root) {
  root.replaceChildren()
  render(<App />, root)
}
