/** The page begins here. */
import { render } from 'preact'
import { page } from './store.ts'
import { followAddress } from './view-state.ts'

followAddress(page)
const root = document.getElementById('page')
if (root) render(<h1>Choir</h1>, root)
