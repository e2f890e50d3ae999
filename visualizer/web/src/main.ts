/** Where the page starts: theme first (no flash of the wrong one), then the shell. */
import { mount } from 'svelte';
import './styles/tokens.css';
import './styles/base.css';
import './styles/charts.css';
import App from './App.svelte';
import { app } from './app.svelte';
import { startTheme } from './theme';

startTheme();
app.start();
const target = document.getElementById('app');
if (target) mount(App, { target });
