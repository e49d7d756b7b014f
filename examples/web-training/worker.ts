// Trains for the page, which stays free.
import 'choir/web/worker'
