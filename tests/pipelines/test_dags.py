"""What a scheduler does with a DAG's file over and over: it costs next to nothing."""
