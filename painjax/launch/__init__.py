"""Starting jobs of several processes. Elsewhere than on one machine, the scripts in launch/ of the project do."""
